import { createHash } from 'node:crypto'

/**
 * RFC 6962, section 2.1, word for word and slow: the yardstick for signing/merkle.ts, and the
 * maker of proofs for small trees in tests.
 */
type Hashes = readonly Uint8Array[]

function sha(...parts: readonly Uint8Array[]): Uint8Array {
  const state = createHash('sha256')
  for (const part of parts) state.update(part)
  return state.digest()
}

export function naiveLeafHash(leaf: Uint8Array): Uint8Array {
  return sha(Uint8Array.of(0), leaf)
}

/** The largest power of two smaller than n. */
function split(n: number): number {
  let k = 1
  while (k * 2 < n) k *= 2
  return k
}

/** MTH(D[n]) over leaf hashes. */
export function naiveRoot(leaves: Hashes): Uint8Array {
  if (leaves.length === 0) return sha()
  if (leaves.length === 1) return leaves[0]!
  const k = split(leaves.length)
  return sha(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)))
}

/** PATH(m, D[n]). */
export function naiveInclusion(leaves: Hashes, index: number): Uint8Array[] {
  if (leaves.length <= 1) return []
  const k = split(leaves.length)
  return index < k
    ? [...naiveInclusion(leaves.slice(0, k), index), naiveRoot(leaves.slice(k))]
    : [...naiveInclusion(leaves.slice(k), index - k), naiveRoot(leaves.slice(0, k))]
}

/** PROOF(m, D[n]) for 0 < m < n; empty for m = 0 and m = n. */
export function naiveConsistency(leaves: Hashes, from: number): Uint8Array[] {
  return from === 0 ? [] : subproof(leaves, from, true)
}

function subproof(leaves: Hashes, from: number, complete: boolean): Uint8Array[] {
  if (from === leaves.length) return complete ? [] : [naiveRoot(leaves)]
  const k = split(leaves.length)
  return from <= k
    ? [...subproof(leaves.slice(0, k), from, complete), naiveRoot(leaves.slice(k))]
    : [...subproof(leaves.slice(k), from - k, false), naiveRoot(leaves.slice(0, k))]
}
