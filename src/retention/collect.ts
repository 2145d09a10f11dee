import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import type { AgedObject, AgingStore } from '../store/blob-store.ts'
import { collectedKey } from '../store/collected.ts'
import { doomedForMs, doomedPrefix } from '../store/held-store.ts'
import { inParallel } from '../store/in-parallel.ts'
import { refreshInventory, type Inventory } from './inventory.ts'
import { planCollection, type CollectionPlan, type RetentionRules } from './plan.ts'

export type CollectDependencies = {
  store: AgingStore
  /** The ledger as of now, verified. */
  ledger: () => Promise<Ledger>
  /** Names this run, unlike any other; what dead runs of the same `owner` announced is taken back. */
  owner: string
  run: string
  /** Ms, ever growing. */
  clock: () => number
  crashPoint: (name: string) => void
}

/** What a run did: what the plan named and was used meanwhile stays. */
export type Collected = { removed: readonly AgedObject[]; spared: number }

const batchSize = 200

/**
 * Removes what a plan names. Every batch is announced, looked at once more, removed, and taken back: see
 * `holdingStore` for the other side. A run that dies leaves an announcement, which counts for nothing after a
 * minute; the next run finds what is left by itself. Any number of runs may be at it at once.
 */
export async function collect(
  deps: CollectDependencies,
  plan: CollectionPlan,
  at: { inventory: Inventory; rules: RetentionRules },
): Promise<Collected> {
  demandWhole(plan)
  const { store, owner, run, crashPoint } = deps
  for await (const key of store.list(doomedPrefix)) {
    if (key.startsWith(`${doomedPrefix}${owner}.`)) await store.remove(key)
  }
  for (const { digest } of plan.artifacts) {
    await store.put(collectedKey(digest), Buffer.from(`${digest}\n`))
  }
  crashPoint('collection.noted')
  const removed: AgedObject[] = []
  for (let from = 0; from < plan.objects.length; from += batchSize) {
    const batch = plan.objects.slice(from, from + batchSize)
    removed.push(...(await removeBatch(deps, { name: `${owner}.${run}.${from}`, batch }, at)))
    crashPoint('collection.taken-back')
  }
  return { removed, spared: plan.objects.length - removed.length }
}

async function removeBatch(
  deps: CollectDependencies,
  { name, batch }: { name: string; batch: readonly AgedObject[] },
  at: { inventory: Inventory; rules: RetentionRules },
): Promise<readonly AgedObject[]> {
  const { store, clock, crashPoint } = deps
  const announced = `${doomedPrefix}${name}`
  // Who waits for this batch takes it for dead after that time.
  const until = clock() + doomedForMs
  await store.put(announced, Buffer.from(`${batch.map(({ key }) => key).join('\n')}\n`))
  crashPoint('collection.announced')
  const removed: AgedObject[] = []
  try {
    const inventory = await refreshInventory(store, at.inventory, batch)
    const again = planCollection(await deps.ledger(), inventory, at.rules)
    demandWhole(again)
    const going = new Set(again.objects.map(({ key }) => key))
    await inParallel(
      batch.filter(({ key }) => going.has(key)),
      8,
      async (one) => {
        if (clock() > until) return
        await store.remove(one.key)
        crashPoint('collection.removed')
        removed.push(one)
      },
    )
    return removed
  } finally {
    await store.remove(announced)
  }
}

function demandWhole({ faults }: CollectionPlan): void {
  const [first] = faults
  if (first === undefined) return
  throw new KilnError('ledger_corrupt', `nothing is collected: ${first.message}`, {
    place: first.digest,
    fix: 'kiln fsck says what is missing; restore it from a backup: docs/recovery.md',
    lines: faults.slice(0, 20).map(({ message }) => message),
  })
}
