import { createHash } from 'node:crypto'

/** RFC 6962, section 2.1, written again here: what checks the log must not share the log's own code. */

export function leafHashOf(entry: Uint8Array): Buffer {
  return sha256(Buffer.concat([Buffer.from([0]), entry]))
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Root of the tree over all the hashes: each half is the largest power of two below the whole. */
export function rootOf(hashes: readonly Uint8Array[]): Buffer {
  const [only] = hashes
  if (only === undefined) return sha256(Buffer.alloc(0))
  if (hashes.length === 1) return Buffer.from(only)
  let half = 1
  while (half * 2 < hashes.length) half *= 2
  const sides = [rootOf(hashes.slice(0, half)), rootOf(hashes.slice(half))]
  return sha256(Buffer.concat([Buffer.from([1]), ...sides]))
}
