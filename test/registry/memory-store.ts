import { createHash } from 'node:crypto'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import { blobKey, type BlobStore } from '../../src/store/blob-store.ts'

/** Keeps the contract of `BlobStore` in memory; `objects` lets a test tamper with what is stored. */
export function memoryStore(): BlobStore & { objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>()
  return {
    objects,
    async put(key, bytes) {
      const old = objects.get(key)
      if (old !== undefined && Buffer.compare(old, bytes) !== 0) {
        throw new KilnError('digest_mismatch', `${key} holds other bytes`)
      }
      objects.set(key, bytes)
    },
    async get(key) {
      return objects.get(key)
    },
    async size(key) {
      return objects.get(key)?.byteLength
    },
    async putBlob(content, expected) {
      const chunks: Uint8Array[] = []
      for await (const chunk of content) chunks.push(chunk)
      const bytes = Buffer.concat(chunks)
      const digest: Digest = digestOfHex(createHash('sha256').update(bytes).digest('hex'))
      if (expected !== undefined && expected !== digest) {
        throw new KilnError('digest_mismatch', `expected ${expected}, got ${digest}`)
      }
      objects.set(blobKey(digest), bytes)
      return { digest, size: bytes.byteLength }
    },
    async readBlob(digest, range) {
      const bytes = objects.get(blobKey(digest))
      if (bytes === undefined) return undefined
      const part = range === undefined ? bytes : bytes.subarray(range.start, range.end + 1)
      return (async function* chunks() {
        for (let at = 0; at < part.byteLength; at += 65536) yield part.subarray(at, at + 65536)
      })()
    },
    async *list(prefix) {
      for (const key of objects.keys()) if (key.startsWith(prefix)) yield key
    },
  }
}
