import type { BlobStore } from '../../src/store/blob-store.ts'

export async function read(store: BlobStore, key: string): Promise<string | undefined> {
  const bytes = await store.get(key)
  return bytes && Buffer.from(bytes).toString()
}

export async function keys(store: BlobStore, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const key of store.list(prefix)) found.push(key)
  return found.toSorted()
}

export async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += 65_536) {
    yield bytes.subarray(start, start + 65_536)
  }
}
