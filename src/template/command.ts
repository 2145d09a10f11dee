import { execa } from 'execa'
import { KilnError } from '../domain/error.ts'

/** One program to run to its end. `environment` null: the machine's own; otherwise exactly these variables. */
export type Command = {
  file: string
  arguments: readonly string[]
  cwd: string
  environment: Readonly<Record<string, string>> | null
  timeoutMs: number
}

export type Outcome = { exitCode: number; stdout: string; stderr: string }

/** Resolves with the exit code, also when it is not 0; throws `prerequisite_missing` when there is no such program. */
export type Run = (command: Command) => Promise<Outcome>

/** The last lines that are kept of what a failed program said. */
const keptLines = 20

/** Debian packages that bring the programs a template is locked and built with. */
const packageOf: Readonly<Record<string, string>> = {
  'apt-ftparchive': 'apt-utils',
  mmdebstrap: 'mmdebstrap',
  npm: 'npm',
  pip: 'python3-pip',
  unshare: 'util-linux',
}

export const runCommand: Run = async (command) => {
  const result = await execa(command.file, [...command.arguments], {
    cwd: command.cwd,
    timeout: command.timeoutMs,
    reject: false,
    stdin: 'ignore',
    stripFinalNewline: false,
    maxBuffer: 64 * 1024 * 1024,
    ...(command.environment === null
      ? {}
      : { env: { ...command.environment }, extendEnv: false as const }),
  })
  if (result.code === 'ENOENT') throw missingProgram(command.file)
  if (result.timedOut) {
    throw new KilnError(
      'internal',
      `${command.file} took longer than ${command.timeoutMs / 1000} s`,
      { lines: lastLines(result.stderr) },
    )
  }
  return {
    exitCode: result.exitCode ?? 1,
    stdout: result.stdout,
    stderr: result.stderr,
  }
}

function missingProgram(file: string): KilnError {
  const name = packageOf[file] ?? file
  return new KilnError('prerequisite_missing', `${file} is not installed`, {
    fix: `apt-get install -y ${name}`,
  })
}

export function lastLines(text: string): string[] {
  return text.trimEnd().split('\n').slice(-keptLines)
}
