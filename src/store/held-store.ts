import { setTimeout as sleep } from 'node:timers/promises'
import { KilnError } from '../domain/error.ts'
import { blobKey, type AgingStore, type BlobStore } from './blob-store.ts'

/** One object for each batch that a collection is about to remove, there from before its last look until after. */
export const doomedPrefix = 'gc/doomed/'

/** A collection removes nothing any more when its announcement is older than this. */
export const doomedForMs = 20_000

/** After so long by this process's own clock an announcement is a dead collection's. */
const deadAfterMs = 3 * doomedForMs

/** What was renewed so lately is not renewed again by this process. */
const heldForMs = 30 * 60_000

export type HeldStore = BlobStore & {
  /** Makes an object safe from collections for their grace; false when it is not there. */
  hold(key: string): Promise<boolean>
}

export type HoldTiming = {
  pollMs: number
  deadAfterMs: number
  /** Ms, ever growing. */
  clock: () => number
}

/** Objects that a collection may remove; the others need no holding. */
const collectable = ['blobs/', 'cache/', 'repositories/', 'referrers/'] as const

/**
 * The store for whoever builds and publishes: what they put or look at stays. Each first renews an object
 * and then looks for announcements; a collection first announces and then looks how old the object is. So
 * at least one sees the other, whatever stands still in between: docs/retention.md.
 */
export function holdingStore(
  store: AgingStore,
  timing: HoldTiming = { pollMs: 50, deadAfterMs, clock: () => performance.now() },
): HeldStore {
  const held = new Map<string, number>()
  const dead = new Set<string>()

  async function hold(key: string): Promise<boolean> {
    if (!collectable.some((prefix) => key.startsWith(prefix))) {
      return (await store.size(key)) !== undefined
    }
    const at = held.get(key)
    if (at !== undefined && timing.clock() - at < heldForMs) {
      return (await store.size(key)) !== undefined
    }
    const began = timing.clock()
    if (!(await store.renew(key))) return false
    await outwait(store, dead, timing)
    if ((await store.size(key)) === undefined) return false
    if (held.size > 10_000) held.clear()
    held.set(key, began)
    return true
  }

  /** What was put is there, and stays. */
  async function settle(key: string): Promise<void> {
    if (await hold(key)) return
    throw new KilnError('store_unavailable', `${key} was collected while it was written`, {
      place: key,
      fix: 'nothing: it is tried again',
    })
  }

  return {
    hold,
    async put(key, bytes) {
      await store.put(key, bytes)
      await settle(key)
    },
    async putBlob(content, expected) {
      const stored = await store.putBlob(content, expected)
      await settle(blobKey(stored.digest))
      return stored
    },
    get: async (key) => ((await hold(key)) ? store.get(key) : undefined),
    size: async (key) => ((await hold(key)) ? store.size(key) : undefined),
    readBlob: async (digest, range) =>
      (await hold(blobKey(digest))) ? store.readBlob(digest, range) : undefined,
    list: (prefix) => store.list(prefix),
  }
}

/** Waits until every batch that is announced now is over. Those that come later see what was renewed. */
async function outwait(store: AgingStore, dead: Set<string>, timing: HoldTiming): Promise<void> {
  const began = timing.clock()
  let left = await announcements(store, dead)
  while (left.size > 0) {
    if (timing.clock() - began > timing.deadAfterMs) {
      for (const key of left) dead.add(key)
      return
    }
    await sleep(timing.pollMs)
    const now = await announcements(store, dead)
    left = new Set([...left].filter((key) => now.has(key)))
  }
}

async function announcements(store: AgingStore, dead: ReadonlySet<string>): Promise<Set<string>> {
  const found = new Set<string>()
  for await (const key of store.list(doomedPrefix)) if (!dead.has(key)) found.add(key)
  return found
}
