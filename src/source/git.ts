import { execa } from 'execa'
import { readSecretFile } from '../store/secret-file.ts'
import { gitError } from './git-error.ts'
import { remoteEnvironment, remoteSettings, type Remote } from './git-remote.ts'

export type GitDependencies = {
  /** What git inherits, and nothing else: PATH; for ssh without a key of its own HOME and SSH_AUTH_SOCK; proxies and CA files. */
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
  remote?: Remote
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
 * configuration of the machine or of people counts, no hook, no prompt, no credential but the
 * remote's own, no submodule, no redirect, no protocol but the repository's own.
 */
export function createGit({ environment, maxPackBytes, timeoutMs }: GitDependencies): Git {
  const start = (args: readonly string[], run: GitRun, keep = true) =>
    execa(
      'sh',
      [
        '-c',
        limited,
        String(Math.ceil(maxPackBytes / 512)),
        ...settingsOf(run.remote),
        ...(run.folder === undefined ? [] : [`--git-dir=${run.folder}`]),
        ...args,
      ],
      {
        env: { ...environment, ...safeEnvironment, ...remoteEnvironment(run.remote) },
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
      const hide = await secretsOf(run.remote)
      try {
        const { stdout } = await start(args, run)
        return stdout ?? ''
      } catch (error) {
        throw gitError(error, { args, remote: run.remote, hide })
      }
    },
    async *stream(args, run) {
      const hide = await secretsOf(run.remote)
      const child = start(args, run, false)
      child.catch(() => undefined)
      try {
        yield* child.iterable({ binary: true })
      } catch (error) {
        throw gitError(error, { args, remote: run.remote, hide })
      }
    },
  }
}

function settingsOf(remote: Remote | undefined): readonly string[] {
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
    ...remoteSettings(remote),
  ]
  return pairs.flatMap((pair) => ['-c', pair])
}

const safeEnvironment = {
  GIT_ATTR_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_LFS_SKIP_SMUDGE: '1',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
  LC_ALL: 'C',
} as const

/** What must not be in any message: the token as it is, and as HTTP carries it. Throws when its file is unfit. */
async function secretsOf(remote: Remote | undefined): Promise<readonly string[]> {
  if (remote?.access?.kind !== 'token') return []
  const token = await readSecretFile(remote.access.tokenFile)
  const basic = Buffer.from(`${remote.access.user}:${token}`).toString('base64')
  return [token, basic, encodeURIComponent(token)]
}
