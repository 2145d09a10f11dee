import { leafName } from '../../signing/leaf.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { leafBundleKey } from './entry.ts'
import { newTiles, readTiles, tileKey } from './tiles.ts'

/**
 * Keys of all that a log of this size consists of: the tiles that a reader of just this size asks for,
 * and of each leaf the bundles there are. Tiles of larger trees are left out, so a copy is this log and
 * nothing beyond it. Throws `ledger_corrupt` when the entries cannot be read.
 */
export async function* logObjects(store: BlobStore, size: number): AsyncGenerator<string> {
  for (const name of newTiles(0, size)) yield tileKey(name)
  for await (const entries of readTiles(store, 'entries', { from: 0, to: size })) {
    for (const entry of entries) {
      const leaf = leafName(entry)
      for (const key of [leafBundleKey(leaf), `bundles/published/${leaf}`]) {
        if ((await store.size(key)) !== undefined) yield key
      }
    }
  }
}

/** Every entry of a log of this size, in order. Throws `ledger_corrupt` when one cannot be read. */
export async function logEntries(store: BlobStore, size: number): Promise<Uint8Array[]> {
  const entries: Uint8Array[] = []
  for await (const some of readTiles(store, 'entries', { from: 0, to: size })) entries.push(...some)
  return entries
}
