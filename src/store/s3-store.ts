import { createHash, randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { digestOfHex, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { blobKey, type AgingStore } from './blob-store.ts'
import { diskError } from './disk-error.ts'
import { agesIn } from './s3-ages.ts'
import { checkKey, otherBytes } from './key.ts'
import {
  collect,
  demandTag,
  notS3,
  openBucket,
  readBody,
  statusOf,
  type Bucket,
  type S3Settings,
} from './s3-client.ts'
import { headOf, ifPresent, objectsIn } from './s3-objects.ts'

/** One request up to this size, parts of this size above it. S3 wants parts of at least 5 MiB. */
const partSize = 8 * 1024 * 1024

/** The object store in an S3 bucket. Every write is a create: `If-None-Match: *`. */
export function openS3Store(settings: S3Settings): AgingStore {
  const bucket = openBucket(settings)
  return {
    put: (key, bytes) => put(bucket, key, bytes),
    get: (key) => get(bucket, key),
    size: (key) => sizeOf(bucket, key),
    putBlob: (content, expected) => putBlob(bucket, content, expected),
    readBlob: (digest, range) => openObject(bucket, blobKey(digest), range),
    async *list(prefix) {
      for await (const { key } of objectsIn(bucket, prefix)) yield key
    },
    ...agesIn(bucket),
  }
}

async function put(bucket: Bucket, key: string, bytes: Uint8Array): Promise<void> {
  checkKey(key)
  if (await create(bucket, key, bytes)) return
  // Most often this client's own earlier attempt, whose answer was lost.
  const present = await get(bucket, key)
  if (present === undefined) return await createOnceMore(bucket, key, bytes)
  if (Buffer.compare(present, bytes) !== 0) throw otherBytes(key)
}

/** A collection may have removed it in between; twice in a row is no S3. */
async function createOnceMore(bucket: Bucket, key: string, bytes: Uint8Array): Promise<void> {
  if (!(await create(bucket, key, bytes))) throw takenAndGone(bucket, key)
}

/** Told that the name is taken, and then that nothing is there. */
function takenAndGone(bucket: Bucket, key: string): KilnError {
  return notS3(bucket, `${key} is taken, and a moment later not there`)
}

/** False when the name is taken. */
async function create(bucket: Bucket, key: string, bytes: Uint8Array): Promise<boolean> {
  return await unlessTaken(async () => {
    const { ETag } = await bucket.request((abortSignal) =>
      bucket.client.send(
        new PutObjectCommand({
          Bucket: bucket.name,
          Key: bucket.keyOf(key),
          Body: bytes,
          ContentLength: bytes.length,
          IfNoneMatch: '*',
        }),
        { abortSignal },
      ),
    )
    demandTag(bucket, key, ETag)
  })
}

async function unlessTaken(action: () => Promise<void>): Promise<boolean> {
  try {
    await action()
    return true
  } catch (error) {
    if (statusOf(error) === 412) return false
    throw error
  }
}

async function openObject(
  bucket: Bucket,
  key: string,
  range?: { start: number; end: number },
): Promise<AsyncGenerator<Uint8Array> | undefined> {
  checkKey(key)
  return await ifPresent(async () => {
    const answer = await bucket.request((abortSignal) =>
      bucket.client.send(
        new GetObjectCommand({
          Bucket: bucket.name,
          Key: bucket.keyOf(key),
          ...(range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` }),
        }),
        { abortSignal },
      ),
    )
    return readBody(bucket, key, answer)
  })
}

async function get(bucket: Bucket, key: string): Promise<Uint8Array | undefined> {
  const content = await openObject(bucket, key)
  return content === undefined ? undefined : await collect(content)
}

async function sizeOf(bucket: Bucket, key: string): Promise<number | undefined> {
  return (await headOf(bucket, key))?.size
}

/** The name is the content's digest, known at its end: so content waits in a file until then. */
async function putBlob(
  bucket: Bucket,
  content: AsyncIterable<Uint8Array>,
  expected: Digest | undefined,
): Promise<{ digest: Digest; size: number }> {
  await mkdir(bucket.spool, { recursive: true }).catch((error: unknown) => {
    throw diskError(error, bucket.spool)
  })
  const path = join(bucket.spool, randomUUID())
  try {
    const { digest, size } = await spool(content, path)
    if (expected !== undefined && digest !== expected) {
      throw new KilnError('digest_mismatch', `content is ${digest}, expected ${expected}`)
    }
    const key = blobKey(digest)
    const stored =
      (await upload(bucket, key, { path, size })) ||
      (await hasDigest(bucket, key, digest)) ||
      // A collection may have removed it in between; twice in a row is no S3.
      (await upload(bucket, key, { path, size }))
    if (!stored) throw takenAndGone(bucket, key)
    return { digest, size }
  } finally {
    await unlink(path).catch(() => {})
  }
}

async function spool(
  content: AsyncIterable<Uint8Array>,
  path: string,
): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256')
  let size = 0
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      hash.update(chunk)
      size += chunk.length
      yield chunk
    }
  }
  await pipeline(hashed(), createWriteStream(path, { flags: 'wx', mode: 0o600 })).catch(
    (error: unknown) => {
      throw diskError(error, path)
    },
  )
  return { digest: digestOfHex(hash.digest('hex')), size }
}

/** False when there is nothing; throws for other content. */
async function hasDigest(bucket: Bucket, key: string, digest: Digest): Promise<boolean> {
  const present = await openObject(bucket, key)
  if (present === undefined) return false
  const hash = createHash('sha256')
  for await (const chunk of present) hash.update(chunk)
  if (digestOfHex(hash.digest('hex')) !== digest) throw otherBytes(key)
  return true
}

/** False when the name is taken. */
async function upload(
  bucket: Bucket,
  key: string,
  { path, size }: { path: string; size: number },
): Promise<boolean> {
  const file = await open(path, 'r')
  try {
    const part = async (start: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read({
        buffer: Buffer.alloc(Math.min(partSize, size - start)),
        position: start,
      })
      return buffer.subarray(0, bytesRead)
    }
    if (size <= partSize) return await create(bucket, key, await part(0))
    return await unlessTaken(() => uploadParts(bucket, key, { size, part }))
  } finally {
    await file.close()
  }
}

/** Nothing shows under the name before the completion, which is the conditional request. */
async function uploadParts(
  bucket: Bucket,
  key: string,
  { size, part }: { size: number; part: (start: number) => Promise<Buffer> },
): Promise<void> {
  const target = { Bucket: bucket.name, Key: bucket.keyOf(key) }
  const { UploadId } = await bucket.request((abortSignal) =>
    bucket.client.send(new CreateMultipartUploadCommand(target), { abortSignal }),
  )
  if (UploadId === undefined) throw notS3(bucket, 'an upload without an id')
  const own = { ...target, UploadId }
  try {
    const parts: { ETag: string; PartNumber: number }[] = []
    for (let start = 0; start < size; start += partSize) {
      const PartNumber = parts.length + 1
      const body = await part(start)
      const { ETag } = await bucket.request((abortSignal) =>
        bucket.client.send(
          new UploadPartCommand({ ...own, PartNumber, Body: body, ContentLength: body.length }),
          { abortSignal },
        ),
      )
      parts.push({ ETag: demandTag(bucket, key, ETag), PartNumber })
    }
    const { ETag } = await bucket.request((abortSignal) =>
      bucket.client.send(
        new CompleteMultipartUploadCommand({
          ...own,
          MultipartUpload: { Parts: parts },
          IfNoneMatch: '*',
        }),
        { abortSignal },
      ),
    )
    demandTag(bucket, key, ETag)
  } catch (error) {
    await bucket.client.send(new AbortMultipartUploadCommand(own)).catch(() => {})
    throw error
  }
}
