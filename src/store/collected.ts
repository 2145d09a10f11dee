import type { Digest } from '../domain/digest.ts'
import type { BlobStore } from './blob-store.ts'

/**
 * Says of an artifact that it was collected, and not lost. It stays for good, and counts while no repository
 * has the artifact: one that was built again is there again.
 */
export function collectedKey(artifact: Digest): string {
  return `collected/${artifact.slice('sha256:'.length)}`
}

export async function wasCollected(store: BlobStore, artifact: Digest): Promise<boolean> {
  return (await store.size(collectedKey(artifact))) !== undefined
}
