import { shortDigest } from '../../domain/digest.ts'
import type { Tile } from '../names.ts'
import { ago } from '../text.ts'
import type { Verb } from './verb.ts'

export const environments: Verb = (program, run) => {
  program
    .command('environments')
    .alias('envs')
    .description('every environment: what is active, open and held')
    .action(
      run(async (session) => {
        const kiln = await session.cli.connect()
        const answer = await kiln.environments({})
        const now = session.cli.now()
        await session.print(answer, () =>
          session.output.table(
            ['environment', 'key', 'digest', 'commit', 'since', 'instances', 'address', 'note'],
            answer.items.map((tile) => rowOf(tile, now)),
          ),
        )
      }),
    )
}

function rowOf(tile: Tile, now: Date): string[] {
  const { name, active, instances, address, routes } = tile
  return [
    name,
    active === null ? '-' : String(active.sequence),
    active === null ? '-' : shortDigest(active.digest),
    active === null ? '-' : active.commit.slice(0, 12),
    active === null ? '-' : ago(active.since, now),
    String(instances.wanted),
    [...(address === null ? [] : [address]), ...routes].join(' ') || '-',
    noteOf(tile, now),
  ]
}

/** What a person should see first: a failure, a hold, what is under way. */
function noteOf({ active, outcome, hold, open, alarm }: Tile, now: Date): string {
  return [
    ...(alarm === null ? [] : [`ALARM ${alarm.cause} ${ago(alarm.since, now)}: ${alarm.message}`]),
    ...(active?.denied ? [`DENIED by ${active.denied.by}: ${active.denied.reason}`] : []),
    ...(outcome?.outcome === 'failed'
      ? [
          `FAILED ${outcome.kind}: ${outcome.failure?.code ?? 'unknown'} (kiln follow ${outcome.operation})`,
        ]
      : []),
    ...(hold === null ? [] : [`held by ${hold.by} ${ago(hold.since, now)}`]),
    ...(open === null
      ? []
      : [`${open.kind} of ${shortDigest(open.digest)} under way (kiln follow ${open.operation})`]),
  ].join('; ')
}
