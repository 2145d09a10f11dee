import type { Access } from './access.ts'
import type { Repository } from './repository.ts'

/** Where git may connect, the address that was looked up and checked, and how it shows who is asking. */
export type Remote = { repository: Repository; address: string | null; access?: Access }

/** Settings of one git command for its remote, as `-c` takes them. None of them holds a secret. */
export function remoteSettings(remote: Remote | undefined): readonly string[] {
  if (remote?.repository.kind !== 'https') return []
  const { host, port } = remote.repository
  const pinned =
    remote.address === null
      ? []
      : [`http.curloptResolve=${host}:${port}:${bracketed(remote.address)}`]
  if (remote.access?.kind !== 'token') return pinned
  // Asked for this server only: whoever answers in its place, or is named by it, gets nothing.
  return [...pinned, `credential.https://${host}:${port}.helper=!${tokenHelper}`]
}

/** git's credential helper: the shell reads the file itself, so the token is in no argument and no variable. */
const tokenHelper =
  'f() { test "$1" != get || printf "username=%s\\npassword=%s\\n" "$KILN_GIT_USER" "$(cat "$KILN_GIT_TOKEN_FILE")"; }; f'

/** What the environment of one git command says of its remote. */
export function remoteEnvironment(remote: Remote | undefined): Record<string, string> {
  return {
    GIT_ALLOW_PROTOCOL: remote?.repository.kind ?? 'none',
    GIT_SSH_COMMAND: sshCommand(remote).map(quoted).join(' '),
    ...(remote?.access?.kind === 'token'
      ? { KILN_GIT_USER: remote.access.user, KILN_GIT_TOKEN_FILE: remote.access.tokenFile }
      : {}),
  }
}

/** ssh as a list of arguments: no configuration of people, no question, no unknown host, no forwarding. */
function sshCommand(remote: Remote | undefined): readonly string[] {
  const ssh = [
    'ssh',
    '-F',
    'none',
    '-oBatchMode=yes',
    '-oConnectTimeout=15',
    '-oClearAllForwardings=yes',
    '-oStrictHostKeyChecking=yes',
    '-oUpdateHostKeys=no',
  ]
  if (remote?.repository.kind !== 'ssh') return ssh
  if (remote.address !== null) {
    const { host, port } = remote.repository
    // ssh looks an alias up as it stands, so the port that known_hosts names must be part of it.
    const alias = port === 22 ? host : `[${host}]:${port}`
    ssh.push(`-oHostName=${remote.address}`, `-oHostKeyAlias=${alias}`)
  }
  if (remote.access?.kind === 'ssh-key') ssh.push(...pinnedKey(remote.access))
  return ssh
}

/** This key and no other, for a server that has one of these host keys and no other. */
function pinnedKey({ keyFile, knownHostsFile }: Extract<Access, { kind: 'ssh-key' }>): string[] {
  return [
    `-oIdentityFile=${keyFile}`,
    '-oIdentitiesOnly=yes',
    '-oIdentityAgent=none',
    '-oPreferredAuthentications=publickey',
    `-oUserKnownHostsFile=${knownHostsFile}`,
    '-oGlobalKnownHostsFile=/dev/null',
  ]
}

function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

/** One word for the shell that git hands GIT_SSH_COMMAND to. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`
}
