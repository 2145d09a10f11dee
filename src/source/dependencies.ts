import type { BlobStore } from '../store/blob-store.ts'
import type { Git } from './git.ts'
import type { Mirror } from './mirror.ts'
import type { RepositoryRules } from './repository.ts'

/** What the room is built over. */
export type SourceDependencies = {
  store: BlobStore
  git: Git
  mirror: Mirror
  rules: RepositoryRules
  /** Packs a tar canonically and refuses what may not be in a build's context; `mtime` in seconds. */
  repack: (
    content: AsyncIterable<Uint8Array>,
    options: { mtime: number },
  ) => AsyncIterable<Uint8Array>
  /** The running activity: when to stop, and how to say that work goes on. */
  activity(this: void): { signal: AbortSignal; heartbeat(this: void): void }
}
