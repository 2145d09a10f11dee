import { leafHash } from '../../signing/merkle.ts'
import { messageOf, type FsckDeps } from './fsck-report.ts'
import { decodeEntries, hashTile, newTiles, tileKey, tileWidth, type TileName } from './tiles.ts'
import { emptyTree, type Tree } from './tree.ts'

type Hashes = readonly Uint8Array[]

/**
 * Checks what was staged, each object against the root in its name, and gives the tiles that an append
 * which is still to be completed may have written already.
 */
export async function checkStaging(
  deps: FsckDeps,
  hashes: Hashes,
): Promise<Map<string, Uint8Array>> {
  const staged: { key: string; base: number }[] = []
  for await (const key of deps.store.list('staging/')) {
    const base = /^staging\/\d+-[0-9a-f]{64}\/(\d+)$/.exec(key)?.[1]
    if (base === undefined) deps.report(key, 'not a name of staged leaves')
    // One that begins later than the log ends is of an append since this check began.
    else if (Number(base) <= hashes.length) staged.push({ key, base: Number(base) })
  }
  const tree = emptyTree()
  const tiles = new Map<string, Uint8Array>()
  for (const { key, base } of staged.toSorted((a, b) => a.base - b.base)) {
    tree.grow(hashes.slice(tree.size, base))
    const leaves = await readStaged(deps, key)
    tree.grow(leaves)
    const [size, root] = [tree.size, Buffer.from(tree.root(tree.size)).toString('hex')]
    if (key !== `staging/${size}-${root}/${base}`)
      deps.report(key, 'the leaves are not those of its name')
    else if (base === hashes.length) addTiles(tiles, tree, base)
    tree.cut(base)
  }
  return tiles
}

async function readStaged({ store, report }: FsckDeps, key: string): Promise<Uint8Array[]> {
  const bytes = (await store.get(key)) ?? Buffer.alloc(0)
  try {
    return decodeEntries(bytes, key).map(leafHash)
  } catch (error) {
    report(key, messageOf(error))
    return []
  }
}

function addTiles(tiles: Map<string, Uint8Array>, tree: Tree, from: number): void {
  for (const name of newTiles(from, tree.size)) {
    if (name.level !== 'entries') tiles.set(tileKey(name), hashTile(tree, name))
  }
}

/**
 * Compares every tile that the log needs, and every other one that is there, with the leaf hashes.
 * Partial tiles of smaller trees may be there; a partial one whose full tile is there need not be.
 */
export async function checkTiles(
  { store, report }: FsckDeps,
  log: {
    hashes: Hashes
    stagedTiles: ReadonlyMap<string, Uint8Array>
    unmoved: () => Promise<boolean>
  },
): Promise<void> {
  const tree = emptyTree()
  tree.grow(log.hashes)
  const wanted = new Set(newTiles(0, tree.size).map(tileKey))
  const strange: string[] = []
  for await (const key of store.list('tile/')) {
    wanted.delete(key)
    const name = nameOf(key)
    const expected = (name && expectedTile(name, tree)) ?? log.stagedTiles.get(hashesKey(key))
    if (expected === undefined) strange.push(key)
    else if (!equal(hashesOf(key, await store.get(key)), expected)) {
      report(key, 'not what the log has here')
    }
  }
  for (const key of wanted) report(key, 'missing')
  // A tile of an append since this check began is nobody's fault.
  if (strange.length === 0 || !(await log.unmoved())) return
  for (const key of strange) report(key, 'a tile that the log does not have')
}

/** Entries are compared by their hashes: encoding is one to one. */
function hashesOf(key: string, bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined || !key.startsWith(entriesPrefix)) return bytes
  try {
    return Buffer.concat(decodeEntries(bytes, key).map(leafHash))
  } catch {
    return undefined
  }
}

const entriesPrefix = 'tile/entries/'

function hashesKey(key: string): string {
  return key.startsWith(entriesPrefix) ? key.replace('entries', '0') : key
}

function equal(found: Uint8Array | undefined, expected: Uint8Array): boolean {
  return found !== undefined && Buffer.compare(found, expected) === 0
}

/** The name of a tile of hashes, or of entries as that of their hashes; undefined when it is no tile's. */
function nameOf(key: string): (TileName & { level: number }) | undefined {
  const parsed = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/.exec(key)
  if (parsed === null) return undefined
  const [, kind = '', path = '', partial] = parsed
  const name = {
    level: kind === 'entries' ? 0 : Number(kind),
    index: Number(path.replaceAll(/[x/]/g, '')),
    width: partial === undefined ? tileWidth : Number(partial),
  }
  return tileKey(name) === hashesKey(key) ? name : undefined
}

/** Undefined when the tree is too small for this tile. */
function expectedTile(name: TileName & { level: number }, tree: Tree): Uint8Array | undefined {
  const last = name.index * tileWidth + name.width
  const fits = name.width >= 1 && last * tileWidth ** name.level <= tree.size
  return fits ? hashTile(tree, name) : undefined
}
