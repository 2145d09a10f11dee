import { ExecaError } from 'execa'
import { KilnError } from '../domain/error.ts'
import type { Remote } from './git-remote.ts'

const outage =
  /Could not resolve host|Couldn't connect|Connection (refused|reset|timed out)|Failed to connect|early EOF|Empty reply from server|Recv failure|recv error|unexpected disconnect|Operation too slow|The requested URL returned error: (429|5\d\d)|Network is unreachable|Temporary failure in name resolution/i
const missing =
  /not found|does not exist|does not appear to be a git repository|Authentication failed|could not read Username|Permission denied|returned error: 40[134]|dubious ownership/i
const otherHostKey =
  /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known for/i
const notLetIn =
  /Authentication failed|Permission denied|returned error: 40[13]|could not read Username/i

type Told = { args: readonly string[]; remote: Remote | undefined; hide: readonly string[] }

/**
 * What git's failure means: cancelled and ended by the time limit are told apart from git's own words.
 * What is to be hidden is taken out of them, whoever put it there.
 */
export function gitError(error: unknown, { args, remote, hide }: Told): unknown {
  if (!(error instanceof ExecaError)) return error
  // Typed as empty, since the type does not know that this command's is kept.
  const kept: unknown = error.stderr
  const stderr = hidden(typeof kept === 'string' ? kept.trim() : '', hide)
  const command = `git ${args.at(0)}`
  const explain = {
    cause: error.cause,
    lines: stderr.split('\n').slice(-20),
    place: placeOf(remote, command),
  }
  if (error.isCanceled) return error.cause ?? error
  if (error.timedOut)
    return new KilnError('fetch_failed', 'git took too long and was ended', explain)
  if (/File too large/i.test(stderr)) {
    return new KilnError('invalid_repository', 'the repository is larger than allowed', explain)
  }
  if (otherHostKey.test(stderr)) return hostKeyError(remote, explain)
  if (outage.test(stderr)) {
    return new KilnError('repository_unavailable', 'the repository cannot be reached', explain)
  }
  if (missing.test(stderr)) return missingError(stderr, remote, explain)
  return new KilnError('fetch_failed', `${command} failed`, explain)
}

function placeOf(remote: Remote | undefined, command: string): string {
  return remote?.repository.url ?? command
}

type Explain = { cause: unknown; lines: readonly string[]; place: string }

function hostKeyError(remote: Remote | undefined, explain: Explain): KilnError {
  const access = remote?.access
  const pinned = access?.kind === 'ssh-key' ? access.knownHostsFile : 'known_hosts'
  return new KilnError(
    'verification_failed',
    `the server's host key is not one of those in ${pinned}: nothing was sent to it`,
    {
      ...explain,
      place: pinned,
      fix: 'ask who runs the server whether its key changed; only then put the new one into the file',
    },
  )
}

function missingError(stderr: string, remote: Remote | undefined, explain: Explain): KilnError {
  const access = remote?.access ?? { kind: 'none' }
  if (access.kind === 'none' || !notLetIn.test(stderr)) {
    return new KilnError('invalid_repository', 'the repository is not there, or not for us', {
      ...explain,
      fix: 'is it private? kiln repository add --help',
    })
  }
  const [what, file] =
    access.kind === 'token' ? ['token', access.tokenFile] : ['key', access.keyFile]
  return new KilnError('invalid_repository', `the repository does not let our ${what} in`, {
    ...explain,
    place: file,
    fix: `is the ${what} still valid, may it read this repository, and may Kiln read the file?`,
  })
}

function hidden(text: string, hide: readonly string[]): string {
  return hide.reduce((shown, secret) => shown.replaceAll(secret, '…'), text)
}
