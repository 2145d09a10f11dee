import { hashSize } from '../../signing/merkle.ts'
import { KilnError } from '../domain/error.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Tree } from './tree.ts'

/**
 * The log as files: https://c2sp.org/tlog-tiles. A tile holds 256 hashes of one level in eight, or 256
 * entries; one that is not full yet carries its width in its name. What a name holds never changes.
 */
export const tileWidth = 256

/** `level` counts tiles' levels: 0 holds leaf hashes, 1 the roots of full tiles of level 0, and so on. */
export type TileName = { level: number | 'entries'; index: number; width: number }

export function tileKey({ level, index, width }: TileName): string {
  const groups = [String(index % 1000).padStart(3, '0')]
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`)
  }
  const partial = width === tileWidth ? '' : `.p/${width}`
  return `tile/${level}/${groups.join('/')}${partial}`
}

/** Every tile that a tree of `to` leaves has and one of `from` leaves had not. */
export function newTiles(from: number, to: number): TileName[] {
  const names: TileName[] = []
  for (let level = 0, span = 1; span <= to; level += 1, span *= tileWidth) {
    const before = Math.floor(from / span)
    const after = Math.floor(to / span)
    for (let index = Math.floor(before / tileWidth); index * tileWidth < after; index += 1) {
      const width = Math.min(tileWidth, after - index * tileWidth)
      if (index * tileWidth + width <= before) continue
      names.push({ level, index, width })
      if (level === 0) names.push({ level: 'entries', index, width })
    }
  }
  return names
}

/** The bytes of a tile of hashes. */
export function hashTile(tree: Tree, { level, index, width }: TileName): Uint8Array {
  if (level === 'entries') throw new RangeError('a tile of entries is not made of the tree')
  return Buffer.concat(
    Array.from({ length: width }, (_, n) => tree.node(level * 8, index * tileWidth + n)),
  )
}

function parseHashTile(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: bytes.length / hashSize }, (_, n) =>
    bytes.subarray(n * hashSize, (n + 1) * hashSize),
  )
}

/** Entries one after the other, each behind its length in two bytes, big-endian. */
export function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(entry.length)
      return [length, entry]
    }),
  )
}

/** Throws `ledger_corrupt` when the lengths do not add up. */
export function decodeEntries(bytes: Uint8Array, place: string): Uint8Array[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: Uint8Array[] = []
  let at = 0
  while (at < view.length) {
    const end = at + 2 <= view.length ? at + 2 + view.readUInt16BE(at) : Infinity
    if (end > view.length) throw corrupt(place, 'an entry runs past its end')
    entries.push(view.subarray(at + 2, end))
    at = end
  }
  return entries
}

/**
 * Leaf hashes or entries number `from` up to `to` of the log that has `to` of them. Throws
 * `ledger_corrupt`, naming the tile, when one is missing or of another length.
 */
export async function* readTiles(
  store: BlobStore,
  level: 0 | 'entries',
  { from, to }: { from: number; to: number },
): AsyncGenerator<Uint8Array[]> {
  for (let index = Math.floor(from / tileWidth); index * tileWidth < to; index += 1) {
    const first = index * tileWidth
    const width = Math.min(tileWidth, to - first)
    const items = await readTile(store, { level, index, width })
    yield items.slice(Math.max(0, from - first), width)
  }
}

/** A partial tile may have been cleared away once the full one was there. */
async function readTile(store: BlobStore, name: TileName): Promise<Uint8Array[]> {
  const key = tileKey(name)
  const full = tileKey({ ...name, width: tileWidth })
  const bytes = (await store.get(key)) ?? (key === full ? undefined : await store.get(full))
  if (bytes === undefined) throw corrupt(key, 'missing')
  const items = name.level === 'entries' ? decodeEntries(bytes, key) : hashesIn(bytes, key)
  if (items.length < name.width) throw corrupt(key, `${items.length} items of ${name.width}`)
  return items
}

function hashesIn(bytes: Uint8Array, key: string): Uint8Array[] {
  if (bytes.length % hashSize !== 0) throw corrupt(key, 'not a list of hashes')
  return parseHashTile(bytes)
}

function corrupt(place: string, what: string): KilnError {
  return new KilnError('ledger_corrupt', `${place}: ${what}`, {
    place,
    fix: 'kiln fsck lists everything that is wrong; restore the store from its backup',
  })
}
