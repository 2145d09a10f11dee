import { errors, KilnError } from '../../domain/error.ts'
import type { AnswerOf } from '../../api/contract.ts'
import { findPlace, placeOf } from '../names.ts'
import type { Session } from '../session.ts'
import { begin, reasonOf, withChange, type ChangeOptions } from './changes.ts'
import type { Verb } from './verb.ts'

type Scanned = AnswerOf<'scan'> & { environment: string }

/** Look for drift now, in depth; or lift an alarm. */
export const scan: Verb = (program, run) => {
  withChange(program.command('scan [environment]'))
    .description('compare what runs with what should, in depth; exit 8 when something differs')
    .option('--clear', 'lift the alarm: what drifts is replaced at once again')
    .action(
      run<ChangeOptions & { clear?: boolean }>(async (session, { args: [where], options }) => {
        const kiln = await session.cli.connect()
        if (options.clear === true) {
          if (where === undefined) throw withoutPlace()
          const params = placeOf(await findPlace(kiln, where))
          const body = { ...reasonOf(options), alarm: true }
          return begin(session, options, {
            kiln,
            start: (call) => kiln.release({ params, body }, call),
          })
        }
        const places =
          where === undefined
            ? (await kiln.environments({})).items.filter(({ active }) => active !== null)
            : [await findPlace(kiln, where)]
        const scans: Scanned[] = []
        for (const place of places) {
          const answer = await kiln.scan({ params: placeOf(place) })
          scans.push({ environment: place.name, ...answer })
        }
        return show(session, scans)
      }),
    )
}

function withoutPlace(): KilnError {
  return new KilnError('invalid_input', 'an alarm is lifted in one environment', {
    place: '--clear',
    fix: 'kiln scan <app>/<environment> --clear',
  })
}

async function show(session: Session, scans: readonly Scanned[]): Promise<number> {
  await session.print({ scans }, async () => {
    await session.output.table(
      ['environment', 'what', 'cause', 'found', 'expected'],
      scans.flatMap(({ environment, findings }) =>
        findings.map(({ instance, cause, found, expected }) => [
          environment,
          instance,
          cause,
          found,
          expected,
        ]),
      ),
    )
    for (const { environment, findings, complete } of scans) {
      if (!complete) session.output.talk(`${environment}: not everything could be looked at`)
      else if (findings.length === 0) session.output.talk(`${environment}: as it should be`)
    }
  })
  const clean = scans.every(({ findings, complete }) => complete && findings.length === 0)
  return clean ? 0 : errors.verification_failed.exit
}
