import { toBase64 } from '../../signing/base64.ts'
import { leafName } from '../../signing/leaf.ts'
import { KilnError } from '../domain/error.ts'
import type { Leaf } from '../domain/statement.ts'
import {
  catchUp,
  grow,
  openLogState,
  signBatch,
  stage,
  stagingKey,
  storeTiles,
  swapHead,
  type AppenderDeps,
  type LogState,
  type Signed,
} from './append-steps.ts'
import { forked } from './log-view.ts'
import { decodeEntries } from './tiles.ts'

/** Adds leaves to the log. A leaf's index is told only when it is there for good; a leaf is there once. */
export type Appender = {
  append(leaf: Uint8Array): Promise<number>
  /** As `append`, but only as the entry with this index; null, and nothing is logged, when the log has gone on. */
  appendAt(leaf: Uint8Array, index: number): Promise<number | null>
  /**
   * Ends an append that was interrupted after its checkpoint was signed. Throws `ledger_corrupt` or
   * `ledger_forked` when the store is older than what the signer remembers, or another log's.
   */
  complete(): Promise<void>
}

const maxBatch = 256

/** How often a batch starts again because another writer was first. */
const maxRaces = 50

type Waiting = {
  leaf: Uint8Array
  /** The only index at which it may stand: such a leaf is a batch of its own. */
  at: number | undefined
  resolve: (index: number | null) => void
  reject: (error: unknown) => void
}

/** One batch at a time; whatever arrives meanwhile is the next one. */
export function openAppender(deps: AppenderDeps): Appender {
  const appendBatch = batchAppender(deps)
  const queue: Waiting[] = []
  let running = false

  async function settle(batch: readonly Waiting[]): Promise<void> {
    try {
      const leaves = batch.map(({ leaf }) => leaf)
      const indexes = await appendBatch(leaves, batch[0]?.at)
      // Acknowledged here and nowhere else: after the head was swapped.
      for (const { leaf, resolve } of batch) resolve(indexes.get(leafName(leaf)) ?? null)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  async function run(): Promise<void> {
    if (running) return
    running = true
    while (queue.length > 0) await settle(queue.splice(0, batchSize(queue)))
    running = false
  }

  const enqueue = (leaf: Uint8Array, at?: number): Promise<number | null> =>
    new Promise((resolve, reject) => {
      queue.push({ leaf, at, resolve, reject })
      void run()
    })

  return {
    complete: async () => void (await appendBatch([])),
    async append(leaf) {
      const index = await enqueue(leaf)
      if (index !== null) return index
      throw new KilnError('internal', 'a leaf was appended and is not there')
    },
    appendAt: enqueue,
  }
}

function batchSize(queue: readonly Waiting[]): number {
  if (queue[0]?.at !== undefined) return 1
  const fixed = queue.findIndex(({ at }) => at !== undefined)
  return Math.min(maxBatch, fixed === -1 ? queue.length : fixed)
}

function batchAppender(
  deps: AppenderDeps,
): (leaves: readonly Uint8Array[], at?: number) => Promise<ReadonlyMap<Leaf, number>> {
  const log = openLogState(deps)
  // Whether the head may be another than the one in memory: at first, and after anything failed.
  let stale = true
  return async (leaves, at) => {
    for (let race = 1; ; race += 1) {
      try {
        if (stale) await catchUp(log)
        stale = false
        await attempt(log, leaves, at)
        return log.indexes
      } catch (error) {
        stale = true
        if (!isLostRace(error) || race === maxRaces) throw error
      }
    }
  }
}

/** The steps in their order: each is durable before the next begins. */
async function attempt(log: LogState, leaves: readonly Uint8Array[], at?: number): Promise<void> {
  const last = await completeSigned(log)
  const fresh = distinct(leaves).filter((leaf) => !log.indexes.has(leafName(leaf)))
  if (fresh.length === 0 || (at !== undefined && at !== log.view.size)) return
  const batch = grow(log, fresh)
  await stage(log, batch)
  const note = await signBatch(log, batch, last)
  await storeTiles(log, batch)
  await swapHead(log, batch, note)
}

/**
 * Completes the append whose checkpoint was signed and whose writer died before the head was swapped
 * (or is still at it: every step writes the same bytes). Nothing else can be signed before.
 */
async function completeSigned(log: LogState): Promise<Signed | null> {
  const { view, store } = log
  const last = await log.signer.lastCheckpoint()
  if (last === null) return null
  if (last.size <= view.size) {
    if (toBase64(view.tree.root(last.size)) === last.root) return last
    throw forked('the signer signed another')
  }
  const root = Buffer.from(last.root, 'base64')
  const key = stagingKey({ base: view.size, size: last.size, root })
  const bytes = await store.get(key)
  if (bytes === undefined) throw await missingStaging(log, key)
  const batch = grow(log, decodeEntries(bytes, key))
  if (batch.size !== last.size || toBase64(batch.root) !== last.root) {
    throw new KilnError('ledger_corrupt', `${key} does not hold the signed leaves`, { place: key })
  }
  await storeTiles(log, batch)
  await swapHead(log, batch, last.note)
  return last
}

/** Another writer may have completed it and gone on; otherwise the store has lost what was signed. */
async function missingStaging(log: LogState, key: string): Promise<KilnError> {
  const before = log.view.size
  await catchUp(log)
  if (log.view.size > before) return new KilnError('lost_race', 'another writer went on')
  return new KilnError('ledger_corrupt', `a checkpoint was signed whose leaves are gone: ${key}`, {
    place: key,
    fix: 'restore a newer backup of the store: it is older than what the signer remembers',
  })
}

function distinct(leaves: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(leaves.map((leaf) => [leafName(leaf), leaf])).values()]
}

function isLostRace(error: unknown): boolean {
  return error instanceof KilnError && error.code === 'lost_race'
}
