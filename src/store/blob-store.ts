import type { Digest } from '../domain/digest.ts'

/**
 * The object store. Everything in it is written once and never changed: the same bytes again succeed,
 * other bytes under a name throw `digest_mismatch`. A resolved `put` is durable (fsync of file and
 * folder, or the S3 answer). Several processes may share one store. Keys are `/`-separated, relative,
 * of `[A-Za-z0-9._:@-]` parts without `.` or `..`.
 */
export interface BlobStore {
  put(key: string, bytes: Uint8Array): Promise<void>
  get(key: string): Promise<Uint8Array | undefined>
  /** Bytes under `key`, or undefined when absent. */
  size(key: string): Promise<number | undefined>
  /** Stores content under its own digest, `blobs/sha256/<hex>`; throws `digest_mismatch` and stores nothing when it is not `expected`. */
  putBlob(
    content: AsyncIterable<Uint8Array>,
    expected?: Digest,
  ): Promise<{ digest: Digest; size: number }>
  /** Streams content; the reader checks nothing, `start` and `end` (inclusive) as in HTTP ranges. */
  readBlob(
    digest: Digest,
    range?: { start: number; end: number },
  ): Promise<AsyncIterable<Uint8Array> | undefined>
  /** Every key below a prefix that ends in `/`, in no order. */
  list(prefix: string): AsyncIterable<string>
}

/** An object as retention sees it. `touchedAt`: when it was written or renewed last, ms since 1970 by the store's clock. */
export type AgedObject = { key: string; size: number; touchedAt: number }

/** What retention needs beside that. Nothing but `kiln gc` removes; how it does so safely: docs/retention.md. */
export interface AgingStore extends BlobStore {
  /** As `list`, with sizes and ages; what goes away meanwhile may be left out. */
  entries(prefix: string): AsyncIterable<AgedObject>
  /** Undefined when absent. */
  touchedAt(key: string): Promise<number | undefined>
  /** Makes an object young; false when absent. */
  renew(key: string): Promise<boolean>
  /** Removes an object; one that is absent is no error. Durable when resolved. */
  remove(key: string): Promise<void>
}

export function blobKey(digest: Digest): string {
  return `blobs/sha256/${digest.slice('sha256:'.length)}`
}

/** The one mutable thing: the log's head, swapped only against what was seen. */
export interface HeadStore {
  read(): Promise<{ bytes: Uint8Array; version: string } | undefined>
  /** Throws `lost_race` when the head is no longer `seen` (undefined: when there is one). */
  swap(seen: string | undefined, bytes: Uint8Array): Promise<{ version: string }>
}
