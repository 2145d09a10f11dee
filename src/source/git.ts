import { execa, ExecaError } from 'execa'
import { KilnError } from '../domain/error.ts'
import type { Repository } from './repository.ts'

export type GitDependencies = {
  /** What git inherits, and nothing else: PATH; for ssh HOME and SSH_AUTH_SOCK; proxies and CA files. */
  environment: Readonly<Record<string, string>>
  /** Largest file that git may write, in bytes: a fetched pack. */
  maxPackBytes: number
  /** How long one git command may take. */
  timeoutMs: number
}

/** With the signal ignored, git itself says that a file became too large. */
const limited = 'trap "" XFSZ && ulimit -f "$0" && exec git "$@"'

type GitRun = {
  /** The folder of a bare repository; absent for commands without one. */
  folder?: string
  /** Where git may connect; absent for commands that do not. */
  remote?: { repository: Repository; address: string | null }
  signal: AbortSignal
  input?: string
}

export type Git = {
  /** Resolves with standard output, at most 64 MiB of it. Throws what `ExecaError` becomes below. */
  text(args: readonly string[], run: GitRun): Promise<string>
  /** Streams standard output; throws after its end when git failed. */
  stream(args: readonly string[], run: GitRun): AsyncIterable<Uint8Array>
}

/**
 * Runs git with arguments as a list, no shell in between but the one that sets the file limit. No
 * configuration of the machine or of people counts, no hook, no prompt, no credential helper, no
 * submodule, no redirect, no protocol but the repository's own.
 */
export function createGit({ environment, maxPackBytes, timeoutMs }: GitDependencies): Git {
  const start = (args: readonly string[], run: GitRun, keep = true) =>
    execa(
      'sh',
      [
        '-c',
        limited,
        String(Math.ceil(maxPackBytes / 512)),
        ...configOf(run.remote),
        ...(run.folder === undefined ? [] : [`--git-dir=${run.folder}`]),
        ...args,
      ],
      {
        env: { ...environment, ...safeEnvironment(run.remote) },
        extendEnv: false,
        cwd: '/',
        cancelSignal: run.signal,
        timeout: timeoutMs,
        forceKillAfterDelay: 2000,
        stripFinalNewline: false,
        buffer: { stdout: keep },
        maxBuffer: { stdout: 64 * 1024 * 1024, stderr: 64 * 1024 },
        ...(run.input === undefined ? { stdin: 'ignore' as const } : { input: run.input }),
      },
    )
  return {
    async text(args, run) {
      try {
        const { stdout } = await start(args, run)
        return stdout ?? ''
      } catch (error) {
        throw gitError(error, args)
      }
    },
    async *stream(args, run) {
      const child = start(args, run, false)
      child.catch(() => undefined)
      try {
        yield* child.iterable({ binary: true })
      } catch (error) {
        throw gitError(error, args)
      }
    },
  }
}

function configOf(remote: GitRun['remote']): readonly string[] {
  const pairs = [
    'core.hooksPath=/dev/null',
    'core.fsmonitor=false',
    'core.askPass=',
    'credential.helper=',
    'submodule.recurse=false',
    'fetch.recurseSubmodules=false',
    'fetch.unpackLimit=1',
    'fetch.fsckObjects=true',
    'gc.auto=0',
    'maintenance.auto=false',
    'http.followRedirects=false',
    'http.lowSpeedLimit=1000',
    'http.lowSpeedTime=30',
    'protocol.allow=never',
    ...pinned(remote),
  ]
  return pairs.flatMap((pair) => ['-c', pair])
}

/** The address that was looked up and checked is the one that is connected to. */
function pinned(remote: GitRun['remote']): readonly string[] {
  if (remote?.repository.kind !== 'https' || remote.address === null) return []
  const { host, port } = remote.repository
  const address = remote.address.includes(':') ? `[${remote.address}]` : remote.address
  return [`http.curloptResolve=${host}:${port}:${address}`]
}

function safeEnvironment(remote: GitRun['remote']): Record<string, string> {
  const ssh = [
    'ssh',
    '-F',
    'none',
    '-oBatchMode=yes',
    '-oConnectTimeout=15',
    '-oClearAllForwardings=yes',
  ]
  if (remote?.repository.kind === 'ssh' && remote.address !== null) {
    ssh.push(`-oHostName=${remote.address}`, `-oHostKeyAlias=${remote.repository.host}`)
  }
  return {
    GIT_ALLOW_PROTOCOL: remote?.repository.kind ?? 'none',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_SSH_COMMAND: ssh.join(' '),
    GIT_TERMINAL_PROMPT: '0',
    LC_ALL: 'C',
  }
}

const outage =
  /Could not resolve host|Couldn't connect|Connection (refused|reset|timed out)|Failed to connect|early EOF|Empty reply from server|Recv failure|recv error|unexpected disconnect|Operation too slow|The requested URL returned error: (429|5\d\d)|Network is unreachable|Temporary failure in name resolution/i
const missing =
  /not found|does not exist|does not appear to be a git repository|Authentication failed|could not read Username|Permission denied|returned error: 40[134]|Host key verification failed|dubious ownership/i

/** What git's failure means: cancelled and ended by the time limit are told apart from git's own words. */
function gitError(error: unknown, args: readonly string[]): unknown {
  if (!(error instanceof ExecaError)) return error
  // Typed as empty, since the type does not know that this command's is kept.
  const kept: unknown = error.stderr
  const stderr = typeof kept === 'string' ? kept.trim() : ''
  const lines = stderr.split('\n').slice(-20)
  const explain = { cause: error.cause, lines }
  if (error.isCanceled) return error.cause ?? error
  if (error.timedOut)
    return new KilnError('fetch_failed', 'git took too long and was ended', explain)
  if (/File too large/i.test(stderr)) {
    return new KilnError('invalid_repository', 'the repository is larger than allowed', explain)
  }
  if (outage.test(stderr)) {
    return new KilnError('repository_unavailable', 'the repository cannot be reached', explain)
  }
  if (missing.test(stderr)) {
    return new KilnError(
      'invalid_repository',
      'the repository is not there, or not for us',
      explain,
    )
  }
  return new KilnError('fetch_failed', `git ${args[0] ?? ''} failed`, explain)
}
