import { randomUUID } from 'node:crypto'
import type { GcReport } from '../cli/local-port.ts'
import type { Digest } from '../domain/digest.ts'
import { promotionPolicyDigest } from '../promote/policy.ts'
import { collect, type CollectDependencies } from '../retention/collect.ts'
import { digestsIn, markedBy, readInventory } from '../retention/inventory.ts'
import { planCollection, type CollectionPlan, type RetentionRules } from '../retention/plan.ts'
import { listTemplates } from '../template/list-templates.ts'
import { readLockText } from '../template/read-template.ts'
import { lockCollections } from './collection-lock.ts'
import type { Config } from './config.ts'
import { crashPointsOf } from './crash-points-of.ts'
import { readObjectStore } from './object-store.ts'
import { openOwnView } from './own-memory.ts'
import { connectClient } from './temporal.ts'

const day = 24 * 60 * 60_000

/** What a build used is touched at its beginning, or was within the half hour before: see `holdingStore`. */
const heldBeforeMs = 60 * 60_000

/** What `kiln gc` does: shows what no lease keeps, and with `apply` removes it from the object store. */
export async function localGc(config: Config, apply: boolean): Promise<GcReport> {
  const { reader } = await openOwnView(config)
  const { store } = readObjectStore(config.store, { readOnly: !apply })
  const deps: CollectDependencies = {
    store,
    ledger: reader.refresh,
    owner: config.hostName,
    run: randomUUID(),
    clock: () => performance.now(),
    crashPoint: crashPointsOf(config, 'gc'),
  }
  const lock = apply ? await lockCollections(config) : null
  try {
    const rules = await rulesOf(config, new Date())
    const inventory = await readInventory(store)
    const plan = planCollection(await reader.refresh(), inventory, rules)
    if (!apply) return { ...reportOf(plan, rules), applied: false, spared: 0 }
    const { removed, spared } = await collect(deps, plan, { inventory, rules })
    const gone = new Set(removed.map(({ key }) => markedBy(key)))
    return {
      ...reportOf(plan, rules),
      applied: true,
      artifacts: plan.artifacts.filter(({ digest }) => gone.has(digest)),
      objects: removed.length,
      bytes: removed.reduce((sum, { size }) => sum + size, 0),
      spared,
    }
  } finally {
    lock?.release()
  }
}

function reportOf(
  plan: CollectionPlan,
  { since }: RetentionRules,
): Omit<GcReport, 'applied' | 'spared'> {
  return {
    artifacts: plan.artifacts,
    objects: plan.objects.length,
    bytes: plan.objects.reduce((sum, { size }) => sum + size, 0),
    kept: plan.kept,
    since: new Date(since).toISOString(),
    faults: plan.faults.map(({ message }) => message),
  }
}

async function rulesOf(config: Config, now: Date): Promise<RetentionRules> {
  const { returns, artifactDays } = config.keep
  const oldest = await oldestBuild(config)
  return {
    good: returns,
    since: Math.min(now.getTime() - artifactDays * day, oldest - heldBeforeMs),
    always: [promotionPolicyDigest, ...(await lockedInputs(config.templates))],
  }
}

/** When the oldest build that has not ended began, ms since 1970; Infinity when none runs. Throws `not_running`. */
async function oldestBuild({ temporal }: Config): Promise<number> {
  const client = await connectClient(temporal.address)
  const kinds = `WorkflowType IN ('deliverCommit', 'buildArtifact', 'rebuildArtifact')`
  let oldest = Infinity
  try {
    const running = client.workflow.list({ query: `${kinds} AND ExecutionStatus = 'Running'` })
    for await (const { startTime } of running) oldest = Math.min(oldest, startTime.getTime())
  } finally {
    await client.connection.close()
  }
  return oldest
}

/** Everything that a lock in the folder of templates names, and the lock itself. */
async function lockedInputs(folder: string): Promise<Digest[]> {
  const named: Digest[] = []
  for (const name of await listTemplates(folder)) {
    named.push(...digestsIn(await readLockText(folder, name)))
  }
  return named
}
