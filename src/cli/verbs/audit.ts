import { errors, KilnError } from '../../domain/error.ts'
import type { VerifyReport } from '../local-port.ts'
import type { Session } from '../session.ts'
import { cleanLine } from '../text.ts'
import type { Verb } from './verb.ts'

/** Check the truth: keys, artifacts, the whole log. None of it trusts the server. */
export const audit: Verb = (program, run) => {
  verifyVerb(program, run)
  evidenceVerb(program, run)
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

const verifyVerb: Verb = (program, run) => {
  program
    .command('verify <key|digest|file>')
    .description(
      'verify a digest or a key from this folder alone, or a file of evidence; exit 8 when a check fails',
    )
    .option('--root <sha256:…>', "the fingerprint of the root that must have made the log's roles")
    .action(
      run<{ root?: string }>(async (session, { args: [what = ''], options }) => {
        const local = await session.cli.local()
        const report = isFile(what)
          ? await local.judge(what, fingerprintIn(options.root))
          : await local.verify(what, fingerprintIn(options.root))
        await session.print(report, () => showVerified(session, report))
        // A report without a single check proves nothing.
        const passed = report.checks.length > 0 && report.checks.every((check) => check.passed)
        return passed ? 0 : errors.verification_failed.exit
      }),
    )
}

const evidenceVerb: Verb = (program, run) => {
  program
    .command('evidence <key>')
    .description('write one file with all that it takes to judge a key without Kiln and a network')
    .option('-o, --output <file>', 'where to; <app>-<environment>-<sequence>.evidence.tar without')
    .action(
      run<{ output?: string }>(async (session, { args: [what = ''], options }) => {
        const report = await (await session.cli.local()).evidence(what, options.output)
        await session.print(report, () => {
          session.output.data(report.file)
          session.output.talk(
            `${report.subject}: ${report.statements} statements, ${report.entries} log entries, ${Math.ceil(report.bytes / 1024)} kB`,
          )
          session.output.talk(`judge it anywhere: kiln verify ${report.file} --root ${report.root}`)
        })
      }),
    )
}

/** Evidence is named by its file; digests and environments never end like one. */
function isFile(what: string): boolean {
  return what.endsWith('.tar')
}

function fingerprintIn(root: string | undefined): string | undefined {
  if (root === undefined || /^sha256:[0-9a-f]{64}$/.test(root)) return root
  throw new KilnError('invalid_input', `not a fingerprint: ${JSON.stringify(root.slice(0, 80))}`, {
    place: '--root',
    fix: 'sha256: and 64 hexadecimal characters; kiln evidence prints it',
  })
}

async function showVerified({ output }: Session, report: VerifyReport): Promise<void> {
  await output.table(
    ['check', 'result', 'detail'],
    report.checks.map(({ name, passed, detail }) => [name, passed ? 'ok' : 'FAILED', detail]),
  )
  if (report.command !== null) output.talk(`repeat it: ${cleanLine(report.command)}`)
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
