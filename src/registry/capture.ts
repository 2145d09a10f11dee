import type { Readable } from 'node:stream'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import {
  contentOf,
  digestOfBytes,
  maxManifestBytes,
  parseManifest,
  type ImageManifest,
} from './manifest.ts'
import { RegistryError } from './registry-error.ts'
import { createUploads, type Uploads } from './upload.ts'

/** A manifest that was pushed; its config and layers are in the store by their digests. */
type CapturedManifest = { digest: Digest; mediaType: string; bytes: Uint8Array }

export type CaptureLimits = {
  /** Largest blob, in bytes. */
  maxBlobBytes: number
  /** Uploads at once; a further one takes the place of one that is idle, or is refused with 429. */
  maxUploads: number
  /** Manifests kept until they are taken; the oldest go first. */
  maxManifests: number
}

type CaptureAt = { name: string; reference: string }

/** The push half of the distribution API: what an engine's `docker push` needs, and no more. */
export type Capture = {
  uploads: Uploads
  putManifest(at: CaptureAt, body: Readable): Promise<CapturedManifest>
  /** The last manifest that was pushed as `name:reference`, once; undefined when there is none. */
  take(at: CaptureAt): CapturedManifest | undefined
}

const defaultCaptureLimits: CaptureLimits = {
  maxBlobBytes: 8 * 1024 ** 3,
  maxUploads: 64,
  maxManifests: 256,
}

/**
 * Uploads and manifests live in memory: the process that pushes is the one that takes, and after a
 * crash it pushes again. Blobs are in the store by their digests.
 */
export function createCapture(
  store: BlobStore,
  limits: CaptureLimits = defaultCaptureLimits,
): Capture {
  const manifests = new Map<string, CapturedManifest>()
  return {
    uploads: createUploads(store, limits),
    async putManifest({ name, reference }, body) {
      const captured = await readManifestBody(store, body)
      if (reference.includes(':') && reference !== captured.digest) {
        throw new RegistryError('DIGEST_INVALID', 400, `the manifest is ${captured.digest}`)
      }
      manifests.delete(`${name}:${reference}`)
      manifests.set(`${name}:${reference}`, captured)
      const [oldest] = manifests.keys()
      if (oldest !== undefined && manifests.size > limits.maxManifests) manifests.delete(oldest)
      return captured
    },
    take({ name, reference }) {
      const key = `${name}:${reference}`
      const captured = manifests.get(key)
      manifests.delete(key)
      return captured
    },
  }
}

async function readManifestBody(store: BlobStore, body: Readable): Promise<CapturedManifest> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > maxManifestBytes) throw new RegistryError('SIZE_INVALID', 413, 'manifest too large')
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  const manifest = checkedManifest(bytes)
  for (const content of contentOf(manifest)) {
    if ((await store.size(blobKey(content.digest))) !== content.size) {
      const message = `${content.digest} of ${content.size} bytes is not here`
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', 404, message)
    }
  }
  return { digest: digestOfBytes(bytes), mediaType: manifest.mediaType, bytes }
}

function checkedManifest(bytes: Uint8Array): ImageManifest {
  try {
    return parseManifest(bytes)
  } catch (error) {
    if (!(error instanceof KilnError)) throw error
    const at = error.place === undefined ? '' : ` (${error.place})`
    throw new RegistryError('MANIFEST_INVALID', 400, `${error.message}${at}`)
  }
}
