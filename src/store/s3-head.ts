import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { KilnError } from '../domain/error.ts'
import type { HeadStore } from './blob-store.ts'
import {
  collect,
  demandTag,
  openBucket,
  readBody,
  statusOf,
  type Bucket,
  type S3Settings,
} from './s3-client.ts'

/** The head as the object `head`, swapped by `If-Match`. The version is its ETag. */
export function openS3Head(settings: S3Settings): HeadStore {
  const bucket = openBucket(settings)
  const read = (): ReturnType<HeadStore['read']> => readHead(bucket)
  return {
    read,
    async swap(seen, bytes) {
      try {
        return { version: await write(bucket, seen, bytes) }
      } catch (error) {
        const status = statusOf(error)
        // 404: the head that was seen is gone.
        if (status !== 412 && status !== 404) throw error
        const present = await read()
        // The same bytes: this swap was made by an attempt whose answer was lost.
        if (present !== undefined && Buffer.compare(present.bytes, bytes) === 0) {
          return { version: present.version }
        }
        throw new KilnError('lost_race', 'another writer moved the head first', { cause: error })
      }
    },
  }
}

async function write(bucket: Bucket, seen: string | undefined, bytes: Uint8Array): Promise<string> {
  const { ETag } = await bucket.request((abortSignal) =>
    bucket.client.send(
      new PutObjectCommand({
        Bucket: bucket.name,
        Key: bucket.keyOf('head'),
        Body: bytes,
        ContentLength: bytes.length,
        ...(seen === undefined ? { IfNoneMatch: '*' } : { IfMatch: seen }),
      }),
      { abortSignal },
    ),
  )
  return demandTag(bucket, 'head', ETag)
}

async function readHead(bucket: Bucket): ReturnType<HeadStore['read']> {
  try {
    const answer = await bucket.request((abortSignal) =>
      bucket.client.send(new GetObjectCommand({ Bucket: bucket.name, Key: bucket.keyOf('head') }), {
        abortSignal,
      }),
    )
    const bytes = await collect(readBody(bucket, 'head', answer))
    return { bytes, version: demandTag(bucket, 'head', answer.ETag) }
  } catch (error) {
    if (error instanceof KilnError && hasName(error.cause, 'NoSuchKey')) return undefined
    throw error
  }
}

function hasName(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name
}
