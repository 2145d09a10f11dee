import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { LockedPackage } from './lock-file.ts'

const listing = z.object({
  fileinfo: z.record(z.string().regex(/^[0-9a-f]{40}$/), z.array(z.object({ size: z.number() }))),
})

const minuteMs = 60_000

/**
 * Takes one exact package from a service that speaks the machine-readable interface of Debian's
 * snapshot archive (`/mr/binary/<name>/<version>/binfiles`, `/file/<sha1>`). False when it does not
 * have it or does not answer; what it sends is checked against the lock's SHA-256.
 */
export async function takeFromSnapshot(
  { address, store }: { address: string; store: BlobStore },
  locked: LockedPackage,
): Promise<boolean> {
  const root = address.replace(/\/+$/, '')
  const name = encodeURIComponent(locked.name)
  const version = encodeURIComponent(locked.version)
  try {
    const response = await get(`${root}/mr/binary/${name}/${version}/binfiles?fileinfo=1`)
    if (response === undefined) return false
    const { fileinfo } = listing.parse(await response.json())
    // One name and version has a file for each architecture; the size tells most apart, the digest all.
    const candidates = Object.entries(fileinfo)
      .filter(([, files]) => files.some(({ size }) => size === locked.size))
      .map(([sha1]) => sha1)
    for (const sha1 of candidates) {
      if (await takeFile(`${root}/file/${sha1}`, store, locked)) return true
    }
    return false
  } catch (error) {
    if (error instanceof KilnError && error.code !== 'digest_mismatch') throw error
    return false
  }
}

async function takeFile(url: string, store: BlobStore, locked: LockedPackage): Promise<boolean> {
  const response = await get(url)
  if (response?.body === null || response === undefined) return false
  try {
    await store.putBlob(atMost(response.body, locked.size), locked.sha256)
    return true
  } catch (error) {
    if (error instanceof KilnError && error.code === 'digest_mismatch') return false
    throw error
  }
}

async function get(url: string): Promise<Response | undefined> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10 * minuteMs) })
  if (response.ok) return response
  await response.body?.cancel()
  return undefined
}

async function* atMost(body: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let seen = 0
  for await (const chunk of body) {
    seen += chunk.length
    if (seen > bytes) {
      throw new KilnError('digest_mismatch', 'the answer is longer than the locked package')
    }
    yield chunk
  }
}
