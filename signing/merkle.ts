import { createHash } from 'node:crypto'

/**
 * Merkle tree hashing and proof checking of RFC 6962 (proofs as in RFC 9162, 2.1.3.2 and 2.1.4.2).
 * Only checking is here: an auditor needs nothing else. Hashes are 32 bytes; sizes and indexes are
 * safe integers.
 */

export const hashSize = 32

function hash(prefix: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const state = createHash('sha256').update(Uint8Array.of(prefix))
  for (const part of parts) state.update(part)
  return state.digest()
}

export function leafHash(leaf: Uint8Array): Uint8Array {
  return hash(0, leaf)
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return hash(1, left, right)
}

/** The root of the empty tree: SHA-256 of nothing. */
export function emptyRoot(): Uint8Array {
  return createHash('sha256').digest()
}

/** The root over leaf hashes in log order. */
export function rootOf(leafHashes: Iterable<Uint8Array>): Uint8Array {
  // Complete subtrees, largest first; two of one height become one of the next.
  const subtrees: { height: number; hash: Uint8Array }[] = []
  for (const leaf of leafHashes) {
    let tree = { height: 0, hash: leaf }
    for (let last = subtrees.at(-1); last?.height === tree.height; last = subtrees.at(-1)) {
      subtrees.pop()
      tree = { height: tree.height + 1, hash: nodeHash(last.hash, tree.hash) }
    }
    subtrees.push(tree)
  }
  return (
    subtrees
      .map((tree) => tree.hash)
      .reduceRight<Uint8Array | undefined>(
        (right, left) => (right === undefined ? left : nodeHash(left, right)),
        undefined,
      ) ?? emptyRoot()
  )
}

/** Where a walk from a leaf to the root stands: the node's number on its level, and the level's last. */
type Position = { node: number; last: number }

function up({ node, last }: Position): Position {
  return { node: Math.floor(node / 2), last: Math.floor(last / 2) }
}

/** Whether the sibling at this position is on the left; a lone last node has it further up. */
function siblingIsLeft({ node, last }: Position): boolean {
  return node % 2 === 1 || node === last
}

/** Skips the levels on which a lone last node has no sibling. */
function skipLone(position: Position): Position {
  let at = position
  while (at.node % 2 === 0 && at.node !== 0) at = up(at)
  return at
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === hashSize && Buffer.compare(a, b) === 0
}

function areHashes(proof: readonly Uint8Array[]): boolean {
  return proof.every((one) => one.length === hashSize)
}

export type InclusionClaim = {
  leafHash: Uint8Array
  index: number
  size: number
  proof: readonly Uint8Array[]
  root: Uint8Array
}

/** Whether the leaf stands at `index` in the tree of `size` leaves with `root`. Never throws. */
export function verifyInclusion(claim: InclusionClaim): boolean {
  const { index, size, proof, root } = claim
  if (!isCount(index) || !isCount(size) || index >= size || !areHashes(proof)) return false
  let at: Position = { node: index, last: size - 1 }
  let computed = claim.leafHash
  for (const sibling of proof) {
    if (at.last === 0) return false
    if (siblingIsLeft(at)) {
      computed = nodeHash(sibling, computed)
      at = skipLone(at)
    } else {
      computed = nodeHash(computed, sibling)
    }
    at = up(at)
  }
  return at.last === 0 && equal(computed, root)
}

export type ConsistencyClaim = {
  from: { size: number; root: Uint8Array }
  to: { size: number; root: Uint8Array }
  proof: readonly Uint8Array[]
}

/**
 * Whether the tree `to` holds the tree `from` as its beginning. Equal sizes need equal roots and no
 * proof; every tree extends the empty one (whose root must be the empty root). Never throws.
 */
export function verifyConsistency({ from, to, proof }: ConsistencyClaim): boolean {
  if (!isCount(from.size) || !isCount(to.size) || !areHashes(proof)) return false
  if (from.size > to.size) return false
  if (from.size === to.size) return proof.length === 0 && equal(from.root, to.root)
  if (from.size === 0) return proof.length === 0 && equal(from.root, emptyRoot())
  return walkConsistency({ from, to, proof })
}

function walkConsistency({ from, to, proof }: ConsistencyClaim): boolean {
  let at: Position = { node: from.size - 1, last: to.size - 1 }
  while (at.node % 2 === 1) at = up(at)
  // A complete old tree is a node of the new one: its root is not repeated in the proof.
  const [first, ...rest] = at.node === 0 ? [from.root, ...proof] : proof
  if (first === undefined || proof.length === 0) return false
  let old = first
  let now = first
  for (const sibling of rest) {
    if (at.last === 0) return false
    if (siblingIsLeft(at)) {
      old = nodeHash(sibling, old)
      now = nodeHash(sibling, now)
      at = skipLone(at)
    } else {
      now = nodeHash(now, sibling)
    }
    at = up(at)
  }
  return at.last === 0 && equal(old, from.root) && equal(now, to.root)
}
