import type { Digest } from '../../src/domain/digest.ts'
import type { Entered } from '../../src/domain/break-glass.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import type { Drift } from '../../src/domain/request.ts'
import type { FileRecord } from '../../src/oci/files-manifest.ts'
import type { ExpectedInstance } from '../../src/runtime/drift.ts'
import { createJudge, type Judge } from '../../src/runtime/judge.ts'
import type { ExpectedMould } from '../../src/runtime/look.ts'
import { watchInstances } from '../../src/runtime/watch.ts'
import { definition, keyLeaf, logger, startOf, type HostAtHand } from './host-at-hand.ts'

/** Instances that an activation adopted, and what the ledger and the store say they are made of. */
export async function standing(
  host: HostAtHand,
  { epoch, artifact, count }: { epoch: number; artifact: Digest; count: number },
): Promise<{ instances: readonly Endpoint[]; mould: ExpectedMould }> {
  const change = { config: { GREETING: 'hello' } }
  const definitionDigest = host.define(change)
  const request = startOf(epoch, { digest: artifact, definition: definitionDigest, count })
  const { instances } = await host.activities.startInstances(request)
  await host.activities.waitReady({ ...request, instances })
  const { Image } = await host.engine.docker.getContainer(instances[0]?.id ?? '').inspect()
  const mould = {
    digest: artifact,
    definitionDigest,
    definition: { ...definition, ...change },
    key: keyLeaf(epoch),
    imageId: Image,
    files: async () => new Map<string, FileRecord>(),
  }
  return { instances, mould }
}

/** What the ledger would say, and who is told. */
export type Told = {
  instances: () => readonly ExpectedInstance[]
  mould?: () => ExpectedMould | null
  /** The last epoch, once it has its outcome; absent: one before those that the host acts for. */
  closed?: () => number | null
  entered?: () => readonly Entered[]
  edge?: (instances: readonly Endpoint[]) => Promise<readonly Drift[]>
  onDrift: (drifts: readonly Drift[]) => Promise<void>
}

/** The host's own judge on the real engine, with the ledger's answers at hand. */
export function judgeOf(host: HostAtHand, told: Told): Judge {
  return createJudge({
    docker: host.engine.docker,
    naming: host.naming,
    fence: host.fence,
    secrets: { find: async () => null },
    logger,
    now: () => new Date(),
    expected: async () => {
      const mould = told.mould?.() ?? null
      return {
        instances: told.instances(),
        closed: told.closed === undefined ? 0 : told.closed(),
        entered: told.entered?.() ?? [],
        mould: mould === null ? null : async () => mould,
      }
    },
    edge: async (_environment, instances) => (await told.edge?.(instances)) ?? [],
    onDrift: (_environment, found) => told.onDrift(found),
  })
}

/** The watch with that judge, until the signal is aborted. */
export function watched(host: HostAtHand, told: Told, signal: AbortSignal): Promise<void> {
  const { docker, naming } = host.engine
  const judge = judgeOf(host, told)
  return watchInstances({ docker, naming, fence: host.fence, logger, judge }, signal)
}
