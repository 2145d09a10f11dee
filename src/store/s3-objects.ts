import {
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
} from '@aws-sdk/client-s3'
import { KilnError } from '../domain/error.ts'
import { checkKey, checkPrefix } from './key.ts'
import { demandTag, notS3, statusOf, type Bucket } from './s3-client.ts'

/** What S3 says of an object beside its content; times in ms since 1970 by S3's clock. */
export type S3Object = { key: string; size: number; writtenAt: number }

/** Undefined for what is not there; a bucket that is not there is an outage. */
export async function ifPresent<T>(action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action()
  } catch (error) {
    const missingBucket =
      error instanceof KilnError &&
      error.cause instanceof Error &&
      error.cause.name === 'NoSuchBucket'
    if (statusOf(error) === 404 && !missingBucket) return undefined
    throw error
  }
}

export async function headOf(bucket: Bucket, key: string): Promise<S3Object | undefined> {
  checkKey(key)
  return await ifPresent(async () => {
    const answer = await bucket.request((abortSignal) =>
      bucket.client.send(new HeadObjectCommand({ Bucket: bucket.name, Key: bucket.keyOf(key) }), {
        abortSignal,
      }),
    )
    demandTag(bucket, key, answer.ETag)
    return objectOf(bucket, key, { size: answer.ContentLength, at: answer.LastModified })
  })
}

/** Every object below a prefix that ends in `/`, in no order. */
export async function* objectsIn(bucket: Bucket, prefix: string): AsyncGenerator<S3Object> {
  checkPrefix(prefix)
  let token: string | undefined
  do {
    const page = await bucket.request((abortSignal) =>
      bucket.client.send(
        new ListObjectsV2Command({
          Bucket: bucket.name,
          Prefix: bucket.keyOf(prefix),
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
        { abortSignal },
      ),
    )
    token = nextPage(bucket, page)
    for (const { Key: key, Size: size, LastModified: at } of page.Contents ?? []) {
      if (key !== undefined)
        yield objectOf(bucket, key.slice(bucket.keyOf('').length), { size, at })
    }
  } while (token !== undefined)
}

/** A page that does not say whether it is the last is no page: what it does not list may be there. */
function nextPage(bucket: Bucket, page: ListObjectsV2CommandOutput): string | undefined {
  const { IsTruncated: more, NextContinuationToken: token } = page
  if (more === undefined) throw notS3(bucket, 'a listing that does not say whether it ends')
  if (!more) return undefined
  if (token === undefined) throw notS3(bucket, 'a listing that goes on, and does not say where')
  return token
}

function objectOf(
  bucket: Bucket,
  key: string,
  { size, at }: { size: number | undefined; at: Date | undefined },
): S3Object {
  if (size !== undefined && at !== undefined) return { key, size, writtenAt: at.getTime() }
  throw notS3(bucket, `what it says of ${key} has no size or no time`)
}
