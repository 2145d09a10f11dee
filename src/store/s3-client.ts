import { setTimeout as wait } from 'node:timers/promises'
import { S3Client, type GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { KilnError } from '../domain/error.ts'

export type S3Settings = {
  /** Of an S3-compatible service; left out for AWS. */
  endpoint?: string
  region: string
  bucket: string
  /** Below which Kiln keeps everything, without slashes at its ends. */
  prefix?: string
  accessKeyId: string
  secretAccessKey: string
  /** A folder for blobs on their way up. */
  spool: string
  /** For one request, and for each chunk of a body. */
  deadlineMs?: number
}

/** One bucket, with the deadline and the names that all requests share. */
export type Bucket = {
  client: S3Client
  name: string
  deadlineMs: number
  spool: string
  /** As people name it: `s3://<bucket>/<prefix>`. */
  place: string
  keyOf(key: string): string
  /** A request that ends by itself or by the deadline, its errors as KilnErrors. */
  request<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T>
}

export function openBucket(settings: S3Settings): Bucket {
  const deadlineMs = settings.deadlineMs ?? 30_000
  const client = new S3Client({
    region: settings.region,
    ...(settings.endpoint === undefined ? {} : { endpoint: settings.endpoint }),
    forcePathStyle: settings.endpoint !== undefined,
    credentials: {
      accessKeyId: settings.accessKeyId,
      secretAccessKey: settings.secretAccessKey,
    },
    // Many S3-compatible services refuse the trailers that the client adds otherwise; Kiln checks
    // lengths and digests itself.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const prefix = settings.prefix === undefined ? '' : `${settings.prefix}/`
  const place = `s3://${settings.bucket}/${settings.prefix ?? ''}`
  return {
    client,
    name: settings.bucket,
    deadlineMs,
    spool: settings.spool,
    place,
    keyOf: (key) => `${prefix}${key}`,
    request: (action) => request(action, { deadlineMs, place }),
  }
}

const conflictAttempts = 20

/** 409 says that another conditional write was under way: ask again. */
async function request<T>(
  action: (signal: AbortSignal) => Promise<T>,
  { deadlineMs, place }: Pick<Bucket, 'deadlineMs' | 'place'>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    // Not AbortSignal.timeout: it would also cut off a body that is still being read.
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), deadlineMs)
    try {
      return await action(deadline.signal)
    } catch (error) {
      if (statusOf(error) !== 409 || attempt === conflictAttempts) throw s3Error(error, place)
      await wait(Math.min(20 * attempt, 500) * (0.5 + Math.random()))
    } finally {
      clearTimeout(timer)
    }
  }
}

export function statusOf(error: unknown): number | undefined {
  if (error instanceof KilnError) return statusOf(error.cause)
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined
  return (error.$metadata as { httpStatusCode?: number }).httpStatusCode
}

function s3Error(error: unknown, place: string): KilnError {
  if (error instanceof KilnError) return error
  const status = statusOf(error)
  const name = error instanceof Error ? error.name : 'unknown'
  const fix =
    status === 403
      ? 'check the access key and what it may do in the bucket'
      : name === 'NoSuchBucket'
        ? 'make the bucket, or name the one that exists'
        : 'check the address of the object store and that it answers'
  return new KilnError(
    'store_unavailable',
    `the object store did not do it: ${name}${status === undefined ? '' : ` (${status})`}`,
    { cause: error, place, fix },
  )
}

/**
 * The ETag that every answer about an object carries. One without it says nothing of the object, whatever
 * its status: services, and what stands before them, answer 200 with an error in XML.
 */
export function demandTag(bucket: Bucket, key: string, tag: string | undefined): string {
  if (tag !== undefined && tag !== '') return tag
  throw notS3(bucket, `what it says of ${key} has no ETag`)
}

/** An answer that is none. Asking again may help: it is most often a failure that was not told as one. */
export function notS3({ place }: Bucket, what: string): KilnError {
  return new KilnError(
    'store_unavailable',
    `the object store answers, but not as S3 does: ${what}`,
    {
      place,
      fix: 'its own log says what failed; KILN_S3_ENDPOINT must lead to it and to nothing else',
    },
  )
}

/**
 * An object to its end, and no shorter than announced. A transfer that stalls or breaks off throws
 * `store_unavailable`; whoever stops reading early frees the connection, as loops over streams do.
 */
export async function* readBody(
  bucket: Bucket,
  key: string,
  { Body: body, ContentLength: length, ETag: tag }: GetObjectCommandOutput,
): AsyncGenerator<Uint8Array> {
  const { deadlineMs, place } = bucket
  const broken = (what: string) => new KilnError('store_unavailable', `${key}: ${what}`, { place })
  if (body === undefined) throw broken('an answer without a body')
  const stream = body as NodeJS.ReadableStream & AsyncIterable<Uint8Array> & Destroyable
  const stalled = broken('the object store stopped sending')
  let size = 0
  let timer = setTimeout(() => stream.destroy(stalled), deadlineMs)
  try {
    demandTag(bucket, key, tag)
    for await (const chunk of stream) {
      clearTimeout(timer)
      size += chunk.length
      yield chunk
      timer = setTimeout(() => stream.destroy(stalled), deadlineMs)
    }
  } catch (error) {
    throw s3Error(error, place)
  } finally {
    clearTimeout(timer)
    stream.destroy()
  }
  if (length !== undefined && size !== length) {
    throw broken(`a body of ${size} bytes, announced were ${length}`)
  }
}

export async function collect(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of content) chunks.push(chunk)
  return Buffer.concat(chunks)
}

type Destroyable = { destroy(error?: Error): void }
