import { errors } from '../../domain/error.ts'
import type { GcReport } from '../local-port.ts'
import type { Session } from '../session.ts'
import { ago, bytesInWords, cleanLine } from '../text.ts'
import type { Verb } from './verb.ts'

/** Frees the object store of what no environment may return to. */
export const gc: Verb = (program, run) => {
  program
    .command('gc')
    .description('show what the object store holds that nothing may return to; --apply removes it')
    .option('--apply', 'remove it')
    .action(
      run<{ apply?: boolean }>(async (session, { options }) => {
        const report = await (await session.cli.local()).gc(options.apply === true)
        await session.print(report, () => showArtifacts(session, report))
        for (const line of summary(report)) session.output.talk(cleanLine(line))
        return report.faults.length === 0 ? 0 : errors.ledger_corrupt.exit
      }),
    )
}

function showArtifacts(session: Session, { artifacts }: GcReport): Promise<void> {
  const now = session.cli.now()
  return session.output.table(
    ['artifact', 'app', 'sealed', 'frees'],
    artifacts.map(({ digest, app, sealedAt, bytes }) => [
      digest,
      app,
      ago(sealedAt, now),
      bytesInWords(bytes),
    ]),
  )
}

function summary(report: GcReport): string[] {
  const { applied, artifacts, bytes, faults, kept, objects, since, spared } = report
  const what = `${artifacts.length} artifacts, ${objects} objects, ${bytesInWords(bytes)}`
  const leased = `${kept.artifacts.length} artifacts are leased, ${bytesInWords(kept.bytes)} stay`
  if (faults.length > 0) return [...faults, 'so nothing may be removed: kiln fsck']
  if (applied) return [`removed ${what}; ${spared} were used meanwhile and stay`, leased]
  return [
    `${what} would go: nothing may return to them, and nothing used them since ${since}`,
    leased,
    ...(objects === 0 ? [] : ['  remove them: kiln gc --apply']),
  ]
}
