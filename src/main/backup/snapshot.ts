import type { BlobStore } from '../../store/blob-store.ts'
import { logObjects } from '../../ledger/log-objects.ts'
import { inParallel } from '../../store/in-parallel.ts'

/**
 * What a backup copies beside the log, in this order: what refers before what it refers to, so that
 * everything that is named in the copy is in it, whatever is written meanwhile. A test compares the
 * list with the one in docs/formats.md.
 */
const copied = [
  'bundles/decision/',
  'repositories/',
  'referrers/',
  'templates/',
  'cache/',
  'collected/',
  'requests/',
  'blobs/',
] as const

export const backedUp: readonly string[] = ['tile/', 'bundles/', ...copied]
/** An append or a collection under way, ages, and what probes left: nothing that a restored Kiln needs. */
export const leftOut: readonly string[] = ['staging/', 'probe/', 'gc/', 'renewed/']

export type Snapshot = { key: string; size: number }[]

/** Every object that a Kiln needs to go on from a log of this size, and how large each is. */
export async function snapshotOf(store: BlobStore, size: number): Promise<Snapshot> {
  const keys = new Set<string>()
  for await (const key of logObjects(store, size)) keys.add(key)
  for (const prefix of copied) for await (const key of store.list(prefix)) keys.add(key)
  return sizesOf(store, [...keys])
}

async function sizesOf(store: BlobStore, keys: readonly string[]): Promise<Snapshot> {
  const found: Snapshot = []
  await inParallel(keys, 16, async (key) => {
    const size = await store.size(key)
    if (size !== undefined) found.push({ key, size })
  })
  return found
}
