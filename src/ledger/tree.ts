import { emptyRoot, hashSize, nodeHash } from '../../signing/merkle.ts'

/**
 * The log's Merkle tree (RFC 6962) in memory: the hash of every complete subtree, 64 bytes a leaf.
 * Those hashes never change, so an older tree is the same one cut shorter.
 */
export type Tree = {
  readonly size: number
  /** Adds leaf hashes at the end. */
  grow(leafHashes: Iterable<Uint8Array>): void
  /** Forgets every leaf from `size` on. */
  cut(size: number): void
  /** The hash of the complete subtree number `index` of 2^`level` leaves. */
  node(level: number, index: number): Uint8Array
  root(size: number): Uint8Array
  /** Proof that leaf `index` is in the tree of `size` leaves (RFC 6962, 2.1.1). */
  inclusionProof(index: number, size: number): Uint8Array[]
  /** Proof that the tree of `to` leaves begins with that of `from` (RFC 6962, 2.1.2); empty from 0. */
  consistencyProof(from: number, to: number): Uint8Array[]
}

export function emptyTree(): Tree {
  const levels: HashList[] = []
  const levelAt = (level: number): HashList => (levels[level] ??= hashList())

  function push(level: number, hash: Uint8Array): void {
    const list = levelAt(level)
    list.push(hash)
    const last = list.length - 1
    if (last % 2 === 1) push(level + 1, nodeHash(list.at(last - 1), hash))
  }

  const node: Tree['node'] = (level, index) => levelAt(level).at(index)

  return {
    get size() {
      return levelAt(0).length
    },
    grow(leafHashes) {
      for (const hash of leafHashes) push(0, hash)
    },
    cut(size) {
      for (const [level, list] of levels.entries()) list.cut(Math.floor(size / 2 ** level))
    },
    node,
    root: (size) => (size === 0 ? emptyRoot() : rangeHash(node, { start: 0, end: size })),
    inclusionProof: (index, size) => pathTo(node, index, { start: 0, end: size }),
    consistencyProof: (from, to) =>
      from === 0 ? [] : subProof(node, { size: from, complete: true }, { start: 0, end: to }),
  }
}

type Node = Tree['node']
type Range = { start: number; end: number }

/** The largest power of two below `count`. */
function splitOf(count: number): number {
  return 2 ** Math.floor(Math.log2(count - 1))
}

function halves({ start, end }: Range): { left: Range; right: Range } {
  const middle = start + splitOf(end - start)
  return { left: { start, end: middle }, right: { start: middle, end } }
}

function rangeHash(node: Node, range: Range): Uint8Array {
  const count = range.end - range.start
  const level = Math.log2(count)
  if (Number.isInteger(level)) return node(level, range.start / count)
  const { left, right } = halves(range)
  return nodeHash(rangeHash(node, left), rangeHash(node, right))
}

function pathTo(node: Node, index: number, range: Range): Uint8Array[] {
  if (range.end - range.start === 1) return []
  const { left, right } = halves(range)
  return index < left.end
    ? [...pathTo(node, index, left), rangeHash(node, right)]
    : [...pathTo(node, index, right), rangeHash(node, left)]
}

/** `complete`: the old tree is exactly this range so far, whose hash the verifier has. */
function subProof(
  node: Node,
  old: { size: number; complete: boolean },
  range: Range,
): Uint8Array[] {
  if (old.size === range.end) return old.complete ? [] : [rangeHash(node, range)]
  const { left, right } = halves(range)
  return old.size <= left.end
    ? [...subProof(node, old, left), rangeHash(node, right)]
    : [...subProof(node, { ...old, complete: false }, right), rangeHash(node, left)]
}

type HashList = {
  readonly length: number
  at(index: number): Uint8Array
  push(hash: Uint8Array): void
  cut(length: number): void
}

/** Hashes side by side in one growing buffer. */
function hashList(): HashList {
  let bytes = Buffer.alloc(32 * hashSize)
  let length = 0
  return {
    get length() {
      return length
    },
    at(index) {
      if (index < 0 || index >= length) throw new RangeError(`no hash ${index} of ${length}`)
      return Uint8Array.from(bytes.subarray(index * hashSize, (index + 1) * hashSize))
    },
    push(hash) {
      if (hash.length !== hashSize) throw new RangeError('not a hash')
      if (bytes.length === length * hashSize) {
        bytes = Buffer.concat([bytes], bytes.length * 2)
      }
      bytes.set(hash, length * hashSize)
      length += 1
    },
    cut(next) {
      length = Math.min(length, next)
    },
  }
}
