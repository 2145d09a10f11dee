import { KilnError } from '../../domain/error.ts'
import { findDigest } from '../names.ts'
import { begin, withWork, type WorkOptions } from './changes.ts'
import type { Verb } from './verb.ts'

type Options = WorkOptions & { reason?: string }

/** Asks nothing: who types it is in a hurry, and what it does to an environment is what the key stored. */
export const revoke: Verb = (program, run) => {
  withWork(program.command('revoke <digest>'))
    .description(
      'deny an artifact for good; what serves it returns to its rollback target, or stops',
    )
    .option('--reason <text>', 'why; it stays in the log')
    .action(
      run<Options>(async (session, { args: [what = ''], options }) => {
        const reason = reasonFor(what, options)
        const kiln = await session.cli.connect()
        const subject = { kind: 'artifact', digest: await findDigest(kiln, what) } as const
        return begin(session, options, {
          kiln,
          start: (call) => kiln.revoke({ body: { subject, reason } }, call),
        })
      }),
    )
}

function reasonFor(what: string, { reason }: Options): string {
  if (reason !== undefined && reason !== '') return reason
  throw new KilnError(
    'invalid_input',
    'a denial needs a reason: it is for good, and stays in the log',
    {
      place: '--reason',
      fix: `kiln revoke ${what} --reason "<why>"`,
    },
  )
}
