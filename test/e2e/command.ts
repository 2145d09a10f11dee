import { execa } from 'execa'
import { join } from 'node:path'
import { root } from '../../scripts/demo/kiln.ts'
import type { Operation } from '../../src/domain/operation.ts'
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
  return { exitCode, stdout, stderr }
}

/** Long work to its end, whatever that is, as --json shows it: the one document on standard output. */
export async function work(
  kiln: KilnAtHand,
  ...args: string[]
): Promise<{ exitCode: number | undefined; operation: Operation }> {
  const { exitCode, stdout } = await run(kiln, ...args, '--json')
  const { operation } = JSON.parse(stdout) as { version: 1; operation: Operation }
  return { exitCode, operation }
}
