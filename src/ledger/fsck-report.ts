import type { TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'

/** One thing that is not as it must be: where, as a key of the store, and what. */
export type Problem = { place: string; message: string }

export type FsckDeps = {
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  trust: TrustRoot
  /** Fingerprint of the root that must have made the log's roles. */
  root?: string
  /** Notes a problem and goes on. */
  report: (place: string, message: string) => void
}

/** What a check found wrong, in words; an error that is none of Kiln's ends the whole check. */
export function messageOf(error: unknown): string {
  if (!(error instanceof KilnError) || error.retryable) throw error
  const cause = error.cause instanceof KilnError ? `: ${error.cause.message}` : ''
  return `${error.message}${cause}`
}
