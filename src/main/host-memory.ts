import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { PortRange } from '../edge/edge.ts'
import { openFence, type HostFence, type Known } from '../runtime/fence.ts'
import type { HostFreshness } from '../runtime/freshness.ts'
import type { Config } from './config.ts'
import { openHostFreshness } from './host-freshness.ts'
import { openLedgerView, type LedgerView } from './ledger-view.ts'
import { readSeen, remembering } from './seen-checkpoint.ts'

/**
 * What a host must know before it acts: the ledger, never again shorter than it was shown before, and how
 * far each environment is and what was denied, taken from it. A host that lost its memory is as careful as
 * before, and one that is new finds what should run.
 */
export async function openHostMemory(
  config: Config,
  { logger, now }: { logger: Logger; now: () => Date },
): Promise<{ view: LedgerView; fence: HostFence; fresh: HostFreshness }> {
  const { paths } = config
  const fence = await openFence({ folder: paths.host })
  const memory = join(paths.host, 'checkpoint')
  const seen = await readSeen(memory)
  const known = seen === undefined ? {} : { seen }
  const opened = await openLedgerView(paths, logger, {
    place: config.store,
    root: config.root,
    ...known,
  })
  const view = { ...opened, reader: remembering(opened.reader, memory) }
  const ledger = await view.reader.refresh()
  await fence.learn(knownIn(ledger))
  await fence.deny([...ledger.denied.keys()])
  return { view, fence, fresh: await openHostFreshness(config, view, { logger, now }) }
}

export function portsOf(ports: Config['ports']): PortRange {
  return { first: ports.edgeFirst, last: ports.edgeLast }
}

function knownIn({ environments }: Ledger): Known[] {
  return [...environments.values()]
    .filter(({ epoch }) => epoch > 0)
    .map(({ environment, epoch, sequence }) => ({ environment, epoch, sequence }))
}

/** Environments are in the order of their first change, which never changes. */
export function placeIn(
  { environments }: Ledger,
  environment: EnvironmentName,
): number | undefined {
  const place = [...environments.keys()].indexOf(environment)
  return place < 0 ? undefined : place
}
