import { randomUUID } from 'node:crypto'
import { KilnError } from '../domain/error.ts'
import type { BlobStore, HeadStore } from './blob-store.ts'

const racers = 20

/**
 * Refuses, by trying, a store that does not honour conditions (`store_unsuitable`): on such a store two
 * writers would both believe that they won; and one whose listings lack what was just written: a backup
 * takes its objects from them. `probeHead` is moved, so it must not be the log's. What was tried stays, a
 * few bytes below `probe/`.
 */
export async function probeStore({
  store,
  probeHead,
}: {
  store: BlobStore
  probeHead: HeadStore
}): Promise<void> {
  await probeCreate(store)
  await probeSwap(probeHead)
}

async function probeCreate(store: BlobStore): Promise<void> {
  const folder = `probe/${randomUUID()}/`
  const key = `${folder}object`
  const wins = await race((racer) => store.put(key, bytesOf(racer)), 'digest_mismatch')
  const present = await store.get(key)
  demand(wins.length === 1, `${wins.length} of ${racers} writers made the same object`)
  demand(
    present !== undefined && Buffer.compare(present, bytesOf(wins[0] ?? -1)) === 0,
    'the object holds the bytes of a writer that was told it lost',
  )
  let isListed = false
  for await (const found of store.list(folder)) isListed ||= found === key
  demand(isListed, 'a listing lacks what was written before it')
}

async function probeSwap(head: HeadStore): Promise<void> {
  const before = await head.read()
  const first = await head.swap(before?.version, Buffer.from(`first ${randomUUID()}\n`))
  const wins = await race((racer) => head.swap(first.version, bytesOf(racer)), 'lost_race')
  const present = await head.read()
  demand(wins.length === 1, `${wins.length} of ${racers} writers moved the head from one version`)
  demand(
    present !== undefined && Buffer.compare(present.bytes, bytesOf(wins[0] ?? -1)) === 0,
    'the head holds the bytes of a writer that was told it lost',
  )
}

/** Who won; whoever did not must have been refused with `refusal`. */
async function race(
  enter: (racer: number) => Promise<unknown>,
  refusal: 'digest_mismatch' | 'lost_race',
): Promise<number[]> {
  const wins: number[] = []
  await Promise.all(
    Array.from({ length: racers }, async (_, racer) => {
      try {
        await enter(racer)
        wins.push(racer)
      } catch (error) {
        if (!(error instanceof KilnError) || error.code !== refusal) throw error
      }
    }),
  )
  return wins
}

function bytesOf(racer: number): Uint8Array {
  return Buffer.from(`racer ${racer}\n`)
}

function demand(holds: boolean, found: string): void {
  if (holds) return
  throw new KilnError('store_unsuitable', `the store does not keep its word: ${found}`, {
    fix: 'use a folder, or an S3 service that honours If-None-Match and If-Match and lists what was written',
  })
}
