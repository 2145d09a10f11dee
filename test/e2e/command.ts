import { execa } from 'execa'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { root } from '../../scripts/demo/kiln.ts'
import { client } from '../../src/api/client.ts'
import { findConnection } from '../../src/cli/connection.ts'
import { runCli } from '../../src/cli/main.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { createLocalVerbs } from '../../src/main/local.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'

/** How a command ended, as a script that calls it sees it. */
export type Ran = { exitCode: number | undefined; stdout: string; stderr: string }

/** Runs a verb of the command line as its own process, without a terminal; no exit code throws. */
export async function run(kiln: KilnAtHand, ...args: string[]): Promise<Ran> {
  const { exitCode, stdout, stderr } = await execa(join(root, 'bin/kiln'), args, {
    env: { KILN_HOME: kiln.home, ...kiln.env },
    stdin: 'ignore',
    reject: false,
  })
  kiln.said.push(stdout, stderr)
  return { exitCode, stdout, stderr }
}

/**
 * The same verb of the same Kiln, over the same connection and files, in this process: a process of its
 * own takes most of a second of a processor. For where that proves nothing more; what a process has of
 * its own (its streams, its exit code, its environment) is held by those that `run` starts.
 */
export async function here(kiln: KilnAtHand, ...args: string[]): Promise<Ran> {
  const { home } = kiln
  const env = { ...process.env, KILN_HOME: home, ...kiln.env }
  const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
  stdin.end()
  const written = Promise.all([text(stdout), text(stderr)])
  const exitCode = await runCli(args, {
    io: { stdin, stdout, stderr },
    env,
    folder: process.cwd(),
    version: 'of-this-test',
    now: () => new Date(),
    onInterrupt: () => () => undefined,
    connect: async () => client(await findConnection(env, home)),
    local: async () => createLocalVerbs({ home, env }),
  })
  for (const stream of [stdout, stderr]) stream.end()
  const [out, err] = await written
  kiln.said.push(out, err)
  return { exitCode, stdout: out.replace(/\n$/, ''), stderr: err.replace(/\n$/, '') }
}

/** Long work to its end, whatever that is, as --json shows it: the one document on standard output. */
export async function work(
  kiln: KilnAtHand,
  ...args: string[]
): Promise<{ exitCode: number | undefined; operation: Operation }> {
  const { exitCode, stdout } = await here(kiln, ...args, '--json')
  const { operation } = JSON.parse(stdout) as { version: 1; operation: Operation }
  return { exitCode, operation }
}
