import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import type { AgingStore } from './blob-store.ts'
import type { Bucket } from './s3-client.ts'
import { headOf, objectsIn } from './s3-objects.ts'

type Ages = Pick<AgingStore, 'entries' | 'touchedAt' | 'renew' | 'remove'>

/**
 * An object in S3 cannot be touched without being copied, which in a bucket with versions keeps all of it
 * twice. So an empty one beside it, `renewed/<key>`, is written again and again, and says when.
 */
export function agesIn(bucket: Bucket): Ages {
  return {
    async *entries(prefix) {
      const renewed = new Map<string, number>()
      for await (const { key, writtenAt } of objectsIn(bucket, renewalOf(prefix))) {
        renewed.set(key.slice(renewalOf('').length), writtenAt)
      }
      for await (const { key, size, writtenAt } of objectsIn(bucket, prefix)) {
        yield { key, size, touchedAt: Math.max(writtenAt, renewed.get(key) ?? 0) }
      }
    },
    async touchedAt(key) {
      const found = await headOf(bucket, key)
      if (found === undefined) return undefined
      const renewal = await headOf(bucket, renewalOf(key))
      return Math.max(found.writtenAt, renewal?.writtenAt ?? 0)
    },
    async renew(key) {
      if ((await headOf(bucket, key)) === undefined) return false
      await bucket.request((abortSignal) =>
        bucket.client.send(
          new PutObjectCommand({
            Bucket: bucket.name,
            Key: bucket.keyOf(renewalOf(key)),
            Body: '',
            ContentLength: 0,
          }),
          { abortSignal },
        ),
      )
      return true
    },
    async remove(key) {
      await removeOne(bucket, key)
      await removeOne(bucket, renewalOf(key))
    },
  }
}

function renewalOf(key: string): string {
  return `renewed/${key}`
}

async function removeOne(bucket: Bucket, key: string): Promise<void> {
  await bucket.request((abortSignal) =>
    bucket.client.send(new DeleteObjectCommand({ Bucket: bucket.name, Key: bucket.keyOf(key) }), {
      abortSignal,
    }),
  )
}
