import { errors, KilnError } from '../../domain/error.ts'
import type { Session } from '../session.ts'
import { cleanLine } from '../text.ts'
import type { Verb } from './verb.ts'

/** Check the truth: keys, artifacts, the whole log. None of it trusts the server. */
export const audit: Verb = (program, run) => {
  program
    .command('verify <key|digest>')
    .description('verify a digest or a key from this folder alone; exit 8 when a check fails')
    .action(
      run(async (session, { args: [what = ''] }) => {
        const report = await (await session.cli.local()).verify(what)
        await session.print(report, async () => {
          await session.output.table(
            ['check', 'result', 'detail'],
            report.checks.map(({ name, passed, detail }) => [
              name,
              passed ? 'ok' : 'FAILED',
              detail,
            ]),
          )
          if (report.command !== null)
            session.output.talk(`repeat it: ${cleanLine(report.command)}`)
        })
        // A report without a single check proves nothing.
        const passed = report.checks.length > 0 && report.checks.every((check) => check.passed)
        return passed ? 0 : errors.verification_failed.exit
      }),
    )
  program
    .command('fsck')
    .description('derive the whole log again and compare; exit 8 when anything differs')
    .action(
      run(async (session) => {
        const report = await (await session.cli.local()).fsck(session.output.talk)
        await session.print(report, async () => {
          session.output.data(`${report.entries}\t${report.root}`)
          for (const { place, message } of report.problems) {
            session.output.talk(cleanLine(`  ${place}: ${message}`))
          }
        })
        return report.problems.length === 0 ? 0 : errors.ledger_corrupt.exit
      }),
    )
  program
    .command('reindex')
    .description('rebuild the SQL fold from the log')
    .action(
      run(async (session) => {
        const answer = (await byServer(session)) ?? (await (await session.cli.local()).reindex())
        await session.print(answer, () =>
          session.output.data(`${answer.entries}\t${answer.digest}`),
        )
      }),
    )
}

/** The server has the index open while it runs, so it must do it; null when none runs. */
async function byServer(session: Session): Promise<{ entries: number; digest: string } | null> {
  try {
    const kiln = await session.cli.connect()
    return await kiln.reindex({})
  } catch (error) {
    if (error instanceof KilnError && error.code === 'not_running') return null
    throw error
  }
}
