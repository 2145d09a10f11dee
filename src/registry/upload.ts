import { randomUUID } from 'node:crypto'
import { PassThrough, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Digest } from '../domain/digest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { RegistryError } from './registry-error.ts'

type Upload = {
  name: string
  input: PassThrough
  stored: Promise<{ digest: Digest; size: number }>
  size: number
  /** Whether a request is sending content now. */
  busy: boolean
}

type UploadAt = { name: string; id: string }

/** Blob uploads in progress. */
export type Uploads = {
  begin(name: string): string
  /** Appends to an upload; resolves with its size so far when the bytes are with the store. */
  append(at: UploadAt, body: Readable): Promise<number>
  /** Ends an upload; throws `DIGEST_INVALID` when its content is not `digest`. */
  finish(at: UploadAt, digest: Digest): Promise<void>
  cancel(at: UploadAt): void
}

/**
 * Blobs stream into the store as they arrive, one `putBlob` for each upload; an upload that breaks
 * stores nothing.
 */
export function createUploads(
  store: BlobStore,
  limits: { maxBlobBytes: number; maxUploads: number },
): Uploads {
  const uploads = new Map<string, Upload>()
  const uploadAt = ({ name, id }: UploadAt): Upload => {
    const upload = uploads.get(id)
    if (upload === undefined || upload.name !== name) {
      throw new RegistryError('BLOB_UPLOAD_UNKNOWN', 404, 'no such upload')
    }
    return upload
  }
  const drop = (at: UploadAt) => {
    const { input } = uploadAt(at)
    uploads.delete(at.id)
    input.destroy()
  }
  /** A client that went away between two requests would keep its place for ever. */
  const dropIdle = () => {
    const idle = [...uploads].find(([, { busy }]) => !busy)
    if (idle === undefined) {
      throw new RegistryError('TOOMANYREQUESTS', 429, 'too many uploads at once')
    }
    drop({ id: idle[0], name: idle[1].name })
  }
  return {
    begin(name) {
      if (uploads.size >= limits.maxUploads) dropIdle()
      const id = randomUUID()
      uploads.set(id, startUpload(store, name))
      return id
    },
    async append(at, body) {
      const upload = uploadAt(at)
      upload.busy = true
      try {
        await pipeline(counted(body, upload, limits.maxBlobBytes), upload.input, { end: false })
        return upload.size
      } catch (error) {
        drop(at)
        if (error instanceof RegistryError) throw error
        throw new RegistryError('BLOB_UPLOAD_INVALID', 400, 'the upload broke off')
      } finally {
        upload.busy = false
      }
    },
    async finish(at, digest) {
      const upload = uploadAt(at)
      uploads.delete(at.id)
      upload.input.end()
      const stored = await upload.stored
      if (stored.digest !== digest) {
        throw new RegistryError('DIGEST_INVALID', 400, `the content is ${stored.digest}`)
      }
    },
    cancel: drop,
  }
}

function startUpload(store: BlobStore, name: string): Upload {
  const input = new PassThrough()
  const stored = store.putBlob(input)
  // Whoever finishes the upload hears of the failure; until then it must not end the process.
  stored.catch((error: unknown) => input.destroy(error instanceof Error ? error : undefined))
  input.on('error', () => undefined)
  return { name, input, stored, size: 0, busy: false }
}

async function* counted(body: Readable, upload: Upload, max: number): AsyncIterable<Uint8Array> {
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    upload.size += chunk.byteLength
    if (upload.size > max) {
      throw new RegistryError('SIZE_INVALID', 413, `a blob may have ${max} bytes`)
    }
    yield chunk
  }
}
