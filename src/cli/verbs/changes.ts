import { Option, type Command } from 'commander'
import { KilnError } from '../../domain/error.ts'
import type { Operation } from '../../domain/operation.ts'
import type { CallOptions, Client } from '../../api/client.ts'
import { follow, type Wait } from '../follow.ts'
import type { Session } from '../session.ts'
import { parseDuration } from '../text.ts'

/** Options of every verb that starts long work. */
export type WorkOptions = {
  wait?: string | boolean
  detach?: boolean
  idempotencyKey?: string
}

export function withWork(command: Command): Command {
  return command
    .addOption(
      new Option('--wait <time>', 'watch at most so long (90s, 15m); exit 7 when it is over'),
    )
    .option('--no-wait', 'start it, print its id and leave')
    .option('--detach', 'the same as --no-wait')
    .option('--idempotency-key <key>', 'asking again with the same key starts nothing new')
}

/** Options of every verb that changes an environment. */
export type ChangeOptions = WorkOptions & { reason?: string; yes?: boolean }

export function withChange(command: Command): Command {
  return withWork(command)
    .option('--reason <text>', 'why; it stays in the log')
    .option('-y, --yes', 'ask nothing')
}

function waitOf({ wait, detach }: WorkOptions): Wait {
  if (detach === true || wait === false) return 'no'
  if (wait === undefined || wait === true) return 'end'
  return parseDuration(wait)
}

export function reasonOf({ reason }: ChangeOptions): { reason?: string } {
  if (reason === '')
    throw new KilnError('invalid_input', 'the reason is empty', { place: '--reason' })
  return reason === undefined ? {} : { reason }
}

/** Starts long work and watches it as the options say. */
export async function begin(
  session: Session,
  options: WorkOptions,
  work: { kiln: Client; start: (call: CallOptions) => Promise<{ operation: Operation }> },
): Promise<number> {
  const wait = waitOf(options)
  const { idempotencyKey } = options
  const { operation } = await work.start(idempotencyKey === undefined ? {} : { idempotencyKey })
  return follow(session, work.kiln, { operation, wait })
}
