import { normalize } from 'node:path/posix'
import { KilnError } from '../domain/error.ts'
import { hostFault } from './host.ts'

/** A repository's address that was checked: git is given `url` and nothing else. */
export type Repository =
  | { kind: 'https'; url: string; host: string; port: number; named: boolean }
  | { kind: 'ssh'; url: string; host: string; port: number; named: boolean }
  | { kind: 'file'; url: string; allowed: string }

/** What the configuration allows beyond public https and ssh. */
export type RepositoryRules = {
  /** Absolute folders; a repository at or below one may be read from disk. */
  allowedPaths: readonly string[]
  /** Hosts that may be private: an inner git server. Exact names, or addresses. */
  allowedHosts: readonly string[]
}

const segment = '[A-Za-z0-9_.~+][A-Za-z0-9_.~+-]*'
const pathForm = new RegExp(`^${segment}(?:/${segment})*/?$`)
const schemeForm = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//
const sshForm = /^ssh:\/\/(?:([^@/]*)@)?([^@/:]+|\[[^\]/]*\])(?::([0-9]+))?\/(.*)$/
const scpForm = /^([^@/:]+)@([^@/:]+|\[[^\]/]*\]):(.*)$/
const userForm = /^[a-z_][a-z0-9_-]{0,31}$/

/**
 * Reads the address of a repository: https, ssh, `user@host:path`, and absolute paths that the
 * configuration names. Throws `invalid_repository` with the reason for all else; nothing is repaired,
 * since git, curl and ssh each read odd addresses in their own way.
 */
export function parseRepository(text: string, rules: RepositoryRules): Repository {
  const fault = textFault(text)
  if (fault !== undefined) throw refusal(text, fault)
  if (text.startsWith('/')) return fileRepository(text, text, rules)
  const scheme = schemeForm.exec(text)?.[1]
  switch (scheme) {
    case undefined:
      return scpRepository(text, rules)
    case 'https':
      return httpsRepository(text, rules)
    case 'ssh':
      return sshRepository(text, rules)
    case 'file':
      return fileRepository(text, text.slice('file://'.length), rules)
    default:
      throw refusal(text, `${scheme} is not https or ssh`)
  }
}

function textFault(text: string): string | undefined {
  if (text === '' || text.length > 2048) return 'it is empty or too long'
  if (!/^[\x21-\x7e]+$/.test(text)) {
    return 'it holds a space, a control character or a letter that is not ASCII'
  }
  if (text.startsWith('-')) return 'it begins with a dash, as an option does'
  if (/[\\%?#"'`$<>|;*]/.test(text)) return 'it holds a character that needs quoting'
  return undefined
}

function scpRepository(text: string, rules: RepositoryRules): Repository {
  if (text.includes('::')) throw refusal(text, 'it names a remote helper')
  const scp = scpForm.exec(text)
  if (scp === null) throw refusal(text, 'it is neither https, ssh, user@host:path nor a path')
  const [, user = '', host = '', path = ''] = scp
  checkUser(text, user)
  checkPath(text, path.replace(/^\//, ''))
  return { kind: 'ssh', url: text, host, port: 22, named: checkHost(text, host, rules) }
}

function httpsRepository(text: string, rules: RepositoryRules): Repository {
  const url = URL.parse(text)
  if (url === null) throw refusal(text, 'it is not an address')
  if (url.username !== '' || url.password !== '' || text.includes('@')) {
    throw refusal(
      text,
      'it holds a user or a password',
      'give Kiln a token or a key by reference: kiln repository add --help',
    )
  }
  if (url.href !== text) throw refusal(text, `it is not in its plain form, ${url.href}`)
  if (url.port === '0') throw refusal(text, '0 is not a port')
  const named = checkHost(text, url.hostname, rules)
  checkPath(text, url.pathname.slice(1))
  const port = url.port === '' ? 443 : Number(url.port)
  return { kind: 'https', url: text, host: url.hostname, port, named }
}

function sshRepository(text: string, rules: RepositoryRules): Repository {
  const found = sshForm.exec(text)
  if (found === null) throw refusal(text, 'it is not ssh://user@host/path')
  const [, user, host = '', port, path = ''] = found
  if (user !== undefined) checkUser(text, user)
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535 || port.startsWith('0'))) {
    throw refusal(text, `${port} is not a port`)
  }
  checkPath(text, path)
  const named = checkHost(text, host, rules)
  return { kind: 'ssh', url: text, host, port: Number(port ?? 22), named }
}

function fileRepository(text: string, path: string, rules: RepositoryRules): Repository {
  if (normalize(path) !== path || path.endsWith('/')) {
    throw refusal(text, 'the path holds //, ., .. or ends with /')
  }
  const allowed = rules.allowedPaths.find((one) => path === one || path.startsWith(`${one}/`))
  if (allowed === undefined) {
    throw refusal(text, 'the configuration names no such folder', 'name it in the configuration')
  }
  return { kind: 'file', url: path, allowed }
}

/** Whether the configuration names the host; throws when neither it does nor the host is public. */
function checkHost(text: string, host: string, rules: RepositoryRules): boolean {
  if (rules.allowedHosts.includes(host) && !host.startsWith('-')) return true
  const fault = hostFault(host)
  if (fault !== undefined) throw refusal(text, fault)
  return false
}

function checkUser(text: string, user: string): void {
  if (!userForm.test(user)) throw refusal(text, 'the user is not a plain name')
}

function checkPath(text: string, path: string): void {
  const parts = path.split('/')
  if (!pathForm.test(path) || parts.includes('.') || parts.includes('..')) {
    throw refusal(text, 'the path is missing, or not plain')
  }
}

function refusal(text: string, reason: string, fix?: string): KilnError {
  // What may be a password is not repeated.
  const shown = JSON.stringify(text.slice(0, 200)).replace(/:\/\/[^/"]*@/, '://…@')
  return new KilnError('invalid_repository', `the repository address is refused: ${reason}`, {
    place: shown,
    ...(fix === undefined ? {} : { fix }),
  })
}

const commitForm = /^[0-9a-f]{40}$/

/** What to build: a full commit id, or the head of a branch. */
export type Revision = { kind: 'commit'; commit: string } | { kind: 'branch'; branch: string }

/** Throws `invalid_input` for what is neither 40 hexadecimal characters nor a branch's name. */
export function parseRevision(text: string): Revision {
  if (commitForm.test(text)) return { kind: 'commit', commit: text }
  if (isBranchName(text)) return { kind: 'branch', branch: text }
  throw new KilnError('invalid_input', 'not a commit or a branch', {
    place: JSON.stringify(text.slice(0, 200)),
    fix: 'give all 40 characters of the commit, or the name of a branch',
  })
}

/** git's own rules for names of references, and only plain characters. */
export function isBranchName(text: string): boolean {
  return (
    text.length <= 200 &&
    text !== 'HEAD' &&
    text
      .split('/')
      .every(
        (one) => /^[A-Za-z0-9_][A-Za-z0-9_.+@#=-]*$/.test(one) && !/\.\.|\.$|\.lock$/.test(one),
      )
  )
}
