import { breakGlass as limits } from '../../domain/break-glass.ts'
import { KilnError } from '../../domain/error.ts'
import { parseDuration } from '../text.ts'
import type { Verb } from './verb.ts'

type Options = { reason?: string; ttl?: string; end?: boolean; idempotencyKey?: string }

/** Lets people into one instance, on record, for a time; it is replaced after it. */
export const breakGlass: Verb = (program, run) => {
  program
    .command('break-glass <instance>')
    .description('let people into one instance for a time; it is replaced when that is over')
    .option('--reason <text>', 'why; it stays in the log')
    .option('--ttl <time>', 'for how long, at most 4h', '15m')
    .option('--end', 'nobody needs it any more: replace the instance now')
    .option('--idempotency-key <key>', 'asking again with the same key starts nothing new')
    .action(
      run<Options>(async (session, { args: [instance = ''], options }) => {
        const seconds = options.end === true ? 0 : secondsOf(options.ttl ?? '15m')
        const reason = reasonFor(instance, options)
        const kiln = await session.cli.connect()
        const { idempotencyKey } = options
        const call = idempotencyKey === undefined ? {} : { idempotencyKey }
        const entered = await kiln.breakGlass({ body: { instance, seconds, reason } }, call)
        await session.print(entered, () =>
          session.output.data(`${entered.instance}\t${entered.until}`),
        )
        if (seconds === 0) return session.output.talk(`${entered.instance} is replaced now`)
        session.output.talk(`  enter it: docker exec -it ${entered.instance} sh`)
        session.output.talk(`  done: kiln break-glass ${entered.instance} --end`)
        return session.output.talk(`it is replaced after ${entered.until}`)
      }),
    )
}

function secondsOf(ttl: string): number {
  const seconds = Math.ceil(parseDuration(ttl, '--ttl') / 1000)
  if (seconds > 0 && seconds <= limits.longestSeconds) return seconds
  throw new KilnError('invalid_input', `not a time between 1s and 4h: ${ttl}`, {
    place: '--ttl',
    fix: 'nobody is let in for longer; ask again when it is over',
  })
}

function reasonFor(instance: string, { reason, end }: Options): string {
  if (reason !== undefined && reason !== '') return reason
  if (end === true) return 'ended'
  throw new KilnError('invalid_input', 'it needs a reason, which stays in the log', {
    place: '--reason',
    fix: `kiln break-glass ${instance} --reason "<why>"`,
  })
}
