import { spawn } from 'node:child_process'
import { PassThrough, type Writable } from 'node:stream'
import { text as textOf } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { client, type Connection } from '../../src/api/client.ts'
import type { Cli } from '../../src/cli/context.ts'
import { runCli } from '../../src/cli/main.ts'
import { memoryMachine } from './cli-machine.ts'

const real = fileURLToPath(new URL('../../src/main/cli.ts', import.meta.url))
/** The same program, with a machine in memory behind its local verbs. */
const withFakeMachine = fileURLToPath(new URL('../fixtures/cli/program.ts', import.meta.url))
/** Runs one of the two several times. */
const each = fileURLToPath(new URL('../fixtures/cli/each.ts', import.meta.url))

export type CliRun = {
  env?: Record<string, string>
  /** The working folder; the tests' own without it. */
  folder?: string
  nodeOptions?: readonly string[]
  program?: 'real' | 'fake-machine'
}

/** What a child process may know: of the environment of whoever runs the tests, where programs and code lie. */
export function childEnv(more: Record<string, string> = {}): Record<string, string> {
  const { PATH = '', NODE_COMPILE_CACHE: cache } = process.env
  const code = cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }
  return { PATH, HOME: '/nonexistent', TERM: 'xterm', ...code, ...more }
}

function programOf({ program }: CliRun): string {
  return program === 'fake-machine' ? withFakeMachine : real
}

export function argvOf(args: readonly string[], run: CliRun = {}): string[] {
  return [...(run.nodeOptions ?? []), programOf(run), ...args]
}

/** Starts the real program with pipes for all three streams. */
export function startKiln(args: readonly string[], run: CliRun = {}) {
  return started(argvOf(args, run), run)
}

function started(argv: readonly string[], run: CliRun) {
  const child = spawn(process.execPath, argv, {
    env: childEnv(run.env),
    cwd: run.folder ?? process.cwd(),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.end()
  const written = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (written.stdout += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (written.stderr += chunk))
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>(
    (resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, ...written }))
    },
  )
  return { child, written, ended }
}

/** Runs it to its end. */
export function kiln(args: readonly string[], run: CliRun = {}) {
  return startKiln(args, run).ended
}

/**
 * Runs the program for each of these arguments, one after the other in one process: what each said, its exit code
 * and the files that then lay in the working folder. After one that ends the process there are no more.
 */
export async function kilnForEach(lines: readonly (readonly string[])[], run: CliRun = {}) {
  const argv = [...(run.nodeOptions ?? []), each, programOf(run), JSON.stringify(lines)]
  const { code, stdout, stderr } = await started(argv, run).ended
  const [said, talked] = [stdout.split('\u001E'), stderr.split('\u001E')]
  const ends =
    code === 0 ? (JSON.parse(said.pop() ?? '') as { code: number; files: string[] }[]) : []
  return said.map((out, at) => ({
    stdout: out,
    stderr: talked[at] ?? '',
    ...(ends[at] ?? { code, files: [] }),
  }))
}

/** Each line of it as JSON; throws when one is not. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** The same program in this process: faster, where a process of its own proves nothing more. */
export async function kilnHere(
  args: readonly string[],
  {
    connection,
    broken = false,
    ...more
  }: Partial<Cli> & { connection: Connection; broken?: boolean },
) {
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  const written = Promise.all([textOf(stdout), textOf(stderr)])
  const code = await runCli(args, {
    io: { stdin, stdout, stderr },
    env: {},
    folder: '/srv',
    version: '0.1.0',
    now: () => new Date('2026-11-20T13:00:00Z'),
    onInterrupt: () => () => undefined,
    connect: async () => client(connection),
    local: async () => memoryMachine(broken),
    ...more,
  })
  for (const stream of [stdout, stderr] satisfies Writable[]) stream.end()
  const [out, err] = await written
  return { code, stdout: out, stderr: err }
}
