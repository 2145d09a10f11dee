import { toBase64 } from '../../signing/base64.ts'
import { parseCheckpoint, verifyCheckpoint, type Checkpoint } from '../../signing/checkpoint.ts'
import { emptyRoot, hashSize, leafHash, nodeHash, rootOf } from '../../signing/merkle.ts'
import type { LogKey } from '../../signing/checkpoint.ts'
import { decodeEntries, tileKey, tileWidth, type TileName } from './tiles.ts'

/** A log as anyone reads it: `checkpoint`, `tile/…`. Undefined: it is not there. Throws when nothing answers. */
export type PublicLog = (path: string) => Promise<Uint8Array | undefined>

/** How a log's history was changed since it was seen last, or what of it is not what its key signed. */
export type Change =
  | 'other key'
  | 'other origin'
  | 'shorter'
  | 'forked'
  | 'tile damaged'
  | 'entry damaged'
  | 'unsigned'

export type Watched =
  | { kind: 'intact'; note: string; size: number; root: string; fresh: number }
  | { kind: 'changed'; change: Change; message: string; note: string | null }

class Found extends Error {
  readonly change: Change
  constructor(change: Change, message: string) {
    super(message)
    this.change = change
  }
}

/**
 * Whether the log is what its key signed and goes on from what was seen: the old tree's hashes, read from
 * the tiles now, must give the old root, and with every entry since then the new one; and each entry's and
 * each full tile's hash must stand in the tiles. What is read is proportional to what is new.
 */
export async function watchLog(
  log: PublicLog,
  key: LogKey,
  seenNote: string | null,
): Promise<Watched> {
  let note: string | null = null
  try {
    note = await readNote(log)
    const now = signedBy(key, note)
    const seen = seenNote === null ? null : verifyCheckpoint(seenNote, key)
    const before = seen ?? { size: 0, root: emptyRoot() }
    demandNotOlder(before, now)
    await demandExtended(log, before, now)
    const fresh = now.size - before.size
    return { kind: 'intact', note, size: now.size, root: toBase64(now.root), fresh }
  } catch (error) {
    if (!(error instanceof Found)) throw error
    return { kind: 'changed', change: error.change, message: error.message, note }
  }
}

async function readNote(log: PublicLog): Promise<string> {
  const bytes = await log('checkpoint')
  if (bytes === undefined) throw new Found('shorter', 'there is no checkpoint any more')
  return Buffer.from(bytes).toString('utf8')
}

function signedBy(key: LogKey, note: string): Checkpoint {
  const said = attempt('unsigned', () => parseCheckpoint(note).checkpoint)
  if (said.origin !== key.origin) {
    throw new Found(
      'other origin',
      `the checkpoint is of ${said.origin}, this log was ${key.origin}`,
    )
  }
  return attempt('unsigned', () => verifyCheckpoint(note, key))
}

function attempt<T>(change: Change, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new Found(change, error instanceof Error ? error.message : String(error))
  }
}

type Tree = { size: number; root: Uint8Array }

function demandNotOlder(before: Tree, now: Tree): void {
  if (now.size < before.size) {
    const lost = before.size - now.size
    throw new Found(
      'shorter',
      `it has ${now.size} entries, and had ${before.size}: ${lost} are gone`,
    )
  }
  if (now.size === before.size && Buffer.compare(now.root, before.root) !== 0) {
    throw new Found('forked', `it has ${now.size} entries as before, and they are others`)
  }
}

/** The complete subtrees of a tree, largest first, as `[height, number on its level]`. */
function subtreesOf(size: number): { height: number; index: number }[] {
  const found: { height: number; index: number }[] = []
  let start = 0
  for (let height = 52; height >= 0; height -= 1) {
    const span = 2 ** height
    if (Math.floor(size / span) % 2 === 0) continue
    found.push({ height, index: start / span })
    start += span
  }
  return found
}

async function demandExtended(log: PublicLog, before: Tree, now: Tree): Promise<void> {
  const tiles = tileReader(log, now.size)
  const range: Subtree[] = []
  for (const { height, index } of subtreesOf(before.size)) {
    range.push({ height, hash: await tiles.node(height, index) })
  }
  if (Buffer.compare(rootOfRange(range), before.root) !== 0) {
    throw new Found('forked', `its first ${before.size} entries are not those that were seen`)
  }
  for (let index = Math.floor(before.size / tileWidth); index * tileWidth < now.size; index += 1) {
    await takeTile({ tiles, range, from: before.size }, index)
  }
  if (Buffer.compare(rootOfRange(range), now.root) !== 0) {
    throw new Found('entry damaged', 'its entries do not give the root that its key signed')
  }
}

type Subtree = { height: number; hash: Uint8Array }

/** Puts a tile's new entries into the range, and compares every hash that becomes known with the tiles. */
async function takeTile(
  { tiles, range, from }: { tiles: Tiles; range: Subtree[]; from: number },
  index: number,
): Promise<void> {
  const [entries, hashes] = [await tiles.entries(index), await tiles.hashes(0, index)]
  for (const [n, hash] of hashes.entries()) {
    const number = index * tileWidth + n
    if (number < from) continue
    const entry = entries[n]
    if (entry === undefined || Buffer.compare(leafHash(entry), hash) !== 0) {
      throw new Found('entry damaged', `entry ${number} is not the one in the tiles`)
    }
    await push({ tiles, range }, number, { height: 0, hash })
  }
}

async function push(
  { tiles, range }: { tiles: Tiles; range: Subtree[] },
  number: number,
  leaf: Subtree,
): Promise<void> {
  let tree = leaf
  for (let last = range.at(-1); last?.height === tree.height; last = range.at(-1)) {
    range.pop()
    tree = { height: tree.height + 1, hash: nodeHash(last.hash, tree.hash) }
    if (tree.height % 8 !== 0) continue
    // A full tile: its root stands in the tile above.
    const index = Math.floor(number / 2 ** tree.height)
    if (Buffer.compare(await tiles.node(tree.height, index), tree.hash) !== 0) {
      throw new Found(
        'tile damaged',
        `tile/${tree.height / 8} has another hash ${index} than the entries give`,
      )
    }
  }
  range.push(tree)
}

function rootOfRange(range: readonly Subtree[]): Uint8Array {
  return (
    range.reduceRight<Uint8Array | null>(
      (right, { hash }) => (right === null ? hash : nodeHash(hash, right)),
      null,
    ) ?? emptyRoot()
  )
}

type Tiles = {
  /** The hashes of a tile, as many as a log of this size has there. */
  hashes: (level: number, index: number) => Promise<readonly Uint8Array[]>
  entries: (index: number) => Promise<readonly Uint8Array[]>
  /** The hash of a complete subtree. */
  node: (height: number, index: number) => Promise<Uint8Array>
}

/** Tiles of hashes that were read are kept: those of the upper levels are asked again and again. */
function tileReader(log: PublicLog, size: number): Tiles {
  const known = new Map<string, readonly Uint8Array[]>()
  const widthOf = (level: number, index: number) =>
    Math.min(tileWidth, Math.floor(size / tileWidth ** level) - index * tileWidth)

  const hashes: Tiles['hashes'] = async (level, index) => {
    const name = { level, index, width: widthOf(level, index) }
    const key = tileKey(name)
    const before = known.get(key)
    if (before !== undefined) return before
    const bytes = await readTile(log, name)
    if (bytes.length % hashSize !== 0 || bytes.length < name.width * hashSize) {
      throw new Found('tile damaged', `${key} is not ${name.width} hashes`)
    }
    const read = Array.from({ length: name.width }, (_, n) =>
      bytes.subarray(n * hashSize, (n + 1) * hashSize),
    )
    // Of the lowest level the last one is enough: it is read in order.
    if (level === 0)
      for (const one of known.keys()) if (one.startsWith('tile/0/')) known.delete(one)
    known.set(key, read)
    return read
  }
  return {
    hashes,
    async entries(index) {
      const name = { level: 'entries', index, width: widthOf(0, index) } as const
      const bytes = await readTile(log, name)
      const entries = attempt('entry damaged', () => decodeEntries(bytes, tileKey(name)))
      if (entries.length >= name.width) return entries
      throw new Found(
        'entry damaged',
        `${tileKey(name)} has ${entries.length} entries of ${name.width}`,
      )
    },
    async node(height, index) {
      const level = Math.floor(height / 8)
      const count = 2 ** (height % 8)
      const first = index * count
      const tile = await hashes(level, Math.floor(first / tileWidth))
      return rootOf(tile.slice(first % tileWidth, (first % tileWidth) + count))
    },
  }
}

async function readTile(log: PublicLog, name: TileName): Promise<Uint8Array> {
  const full = tileKey({ ...name, width: tileWidth })
  const bytes = (await log(tileKey(name))) ?? (await log(full))
  if (bytes !== undefined) return bytes
  throw new Found(
    name.level === 'entries' ? 'entry damaged' : 'tile damaged',
    `${tileKey(name)} is missing`,
  )
}
