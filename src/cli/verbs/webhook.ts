import { ago } from '../text.ts'
import type { Verb } from './verb.ts'

/** What forges announced, and what came of it. Webhooks are set up with `kiln repository add`. */
export const webhook: Verb = (program, run) => {
  const family = program
    .command('webhook')
    .description('deliveries of webhooks; kiln repository add sets one up')
  family
    .command('list')
    .description('the newest deliveries whose signature was right, and what came of each')
    .action(
      run(async (session) => {
        const kiln = await session.cli.connect()
        const answer = await kiln.webhooks({ query: {} })
        const now = session.cli.now()
        await session.print(answer, () =>
          session.output.table(
            ['received', 'forge', 'event', 'branch', 'commit', 'result', 'delivery', 'message'],
            answer.items.map((one) => [
              ago(one.receivedAt, now),
              one.forge,
              one.event,
              one.branch ?? '-',
              one.commit?.slice(0, 12) ?? '-',
              one.result,
              one.delivery,
              one.message,
            ]),
          ),
        )
      }),
    )
}
