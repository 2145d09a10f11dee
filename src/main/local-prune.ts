import type { PruneReport } from '../cli/local-port.ts'
import { createDocker } from '../docker/client.ts'
import { freeBytes } from '../store/free-space.ts'
import type { Config } from './config.ts'
import { openOwnView } from './own-memory.ts'
import {
  pruneBuildImages,
  pruneCaches,
  pruneInstanceImages,
  pruneLogs,
  type PruneInput,
} from './prune.ts'

/** What `kiln prune` does here: the same that host and build worker do by themselves. */
export async function localPrune(config: Config, dryRun: boolean): Promise<PruneReport> {
  // What an older log does not name would be removed.
  const { store, reader } = await openOwnView(config)
  const input: PruneInput = {
    config,
    store,
    ledger: reader.refresh,
    now: () => new Date(),
    dryRun,
  }
  const removed = [
    ...(await pruneInstanceImages(createDocker({ socketPath: config.docker.runtime }), input)),
    ...(await pruneBuildImages(createDocker({ socketPath: config.docker.build }), input)),
    ...(await pruneLogs(input)),
    ...(await pruneCaches(input)),
  ]
  return { dryRun, removed, free: await freeBytes(config.home), wanted: config.minFree }
}
