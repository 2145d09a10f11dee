import type { AnswerOf } from '../../api/contract.ts'
import { shortDigest } from '../../domain/digest.ts'
import { findPlace, placeOf } from '../names.ts'
import type { Session } from '../session.ts'
import { ago } from '../text.ts'
import { limitOption, pageOf, sayMore, type PageOptions } from './paging.ts'
import type { Verb } from './verb.ts'

export const history: Verb = (program, run) => {
  program
    .command('history <environment|app>')
    .description("an environment's changes, or an app's sealed artifacts, newest first")
    .addOption(limitOption())
    .option('--cursor <cursor>', 'go on where an earlier page ended')
    .action(
      run<PageOptions>(async (session, { args: [what = ''], options }) => {
        const kiln = await session.cli.connect()
        const { items } = await kiln.environments({})
        const query = pageOf(options)
        // An app can be sealed before it has an environment, so a plain name that is no environment is an app.
        const named = items.some(({ app, environment }) => app !== what && environment === what)
        if (!what.includes('/') && !named) {
          return ofApp(session, await kiln.artifacts({ query: { ...query, app: what } }))
        }
        const params = placeOf(await findPlace(kiln, what))
        return ofEnvironment(session, await kiln.history({ params, query }))
      }),
    )
}

async function ofEnvironment(session: Session, page: AnswerOf<'history'>): Promise<void> {
  const now = session.cli.now()
  await session.print(page, () =>
    session.output.table(
      [
        'epoch',
        'kind',
        'outcome',
        'key',
        'digest',
        'from',
        'commit',
        'by',
        'when',
        'reason',
        'subject',
      ],
      page.items.map((one) => [
        String(one.epoch),
        one.kind,
        one.outcome,
        one.sequence === null ? '-' : String(one.sequence),
        shortDigest(one.digest),
        one.from === null ? '-' : shortDigest(one.from),
        one.commit.slice(0, 12),
        one.requestedBy,
        ago(one.requestedAt, now),
        one.reason,
        one.subject,
      ]),
    ),
  )
  sayMore(session, page.next)
}

async function ofApp(session: Session, page: AnswerOf<'artifacts'>): Promise<void> {
  const now = session.cli.now()
  await session.print(page, () =>
    session.output.table(
      ['digest', 'commit', 'sealed', 'active in', 'note', 'subject'],
      page.items.map((one) => [
        shortDigest(one.digest),
        one.commit.slice(0, 12),
        ago(one.sealedAt, now),
        one.environments.join(' ') || '-',
        one.denied === null ? '' : `DENIED by ${one.denied.by}: ${one.denied.reason}`,
        one.subject,
      ]),
    ),
  )
  sayMore(session, page.next)
}
