import { digestOfHex, hexOf, type Digest } from '../domain/digest.ts'
import { mediaTypes, type Descriptor } from '../oci/image.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { contentOf, digestOfBytes, parseManifest, type ImageManifest } from './manifest.ts'

/** Says that a manifest belongs to a repository; content alone does not, since blobs are shared. */
export function manifestMarker(repository: string, manifest: Digest): string {
  return `repositories/${repository}/${hexOf(manifest)}`
}

export function referrerMarker(subject: Digest, referrer: Digest): string {
  return `referrers/${hexOf(subject)}/${hexOf(referrer)}`
}

export type StoredManifest = { bytes: Uint8Array; manifest: ImageManifest }

/** `damaged`: the repository has it, and its bytes in the store are no longer what its digest says. */
export type FoundManifest =
  | ({ kind: 'sound' } & StoredManifest)
  | { kind: 'damaged' }
  | { kind: 'none' }

/** A repository's manifest. */
export async function readManifest(
  store: BlobStore,
  repository: string,
  digest: Digest,
): Promise<FoundManifest> {
  if ((await store.size(manifestMarker(repository, digest))) === undefined) return { kind: 'none' }
  const bytes = await store.get(blobKey(digest))
  if (bytes === undefined) return { kind: 'none' }
  if (digestOfBytes(bytes) !== digest) return { kind: 'damaged' }
  return { kind: 'sound', bytes, manifest: parseManifest(bytes) }
}

/** Every manifest of a repository. */
async function* manifestsOf(store: BlobStore, repository: string): AsyncIterable<Digest> {
  yield* digestsBelow(store, `repositories/${repository}/`)
}

/** Whether anything was published under this name. */
export async function isRepository(store: BlobStore, name: string): Promise<boolean> {
  const { done } = await manifestsOf(store, name)[Symbol.asyncIterator]().next()
  return done !== true
}

/** Whether a manifest of the repository that passes `admissible` has this blob as its config or a layer. */
export async function isReferenced(
  store: BlobStore,
  { repository, blob }: { repository: string; blob: Digest },
  admissible: (digest: Digest) => boolean,
): Promise<boolean> {
  for await (const digest of manifestsOf(store, repository)) {
    if (!admissible(digest)) continue
    const found = await readManifest(store, repository, digest)
    // One that was damaged names nothing, and keeps nobody from the others.
    if (found.kind !== 'sound') continue
    if (contentOf(found.manifest).some((one) => one.digest === blob)) return true
  }
  return false
}

/** The repository's manifests that name `subject`, ordered by digest. */
export async function referrersOf(
  store: BlobStore,
  repository: string,
  subject: Digest,
): Promise<readonly Descriptor[]> {
  const found: Digest[] = []
  for await (const digest of digestsBelow(store, `referrers/${hexOf(subject)}/`)) found.push(digest)
  const descriptors: Descriptor[] = []
  for (const digest of found.toSorted()) {
    const stored = await readManifest(store, repository, digest)
    if (stored.kind === 'sound') descriptors.push(describe(digest, stored))
  }
  return descriptors
}

function describe(digest: Digest, { bytes, manifest }: StoredManifest): Descriptor {
  return {
    mediaType: manifest.mediaType,
    digest,
    size: bytes.byteLength,
    // An empty one counts as none: the specification's Listing Referrers.
    artifactType: manifest.artifactType || manifest.config.mediaType,
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  }
}

/** The index that the referrers API answers with; its bytes depend on the descriptors alone. */
export function referrersIndex(descriptors: readonly Descriptor[]): Uint8Array {
  return new TextEncoder().encode(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: descriptors }),
  )
}

const hexForm = /^[0-9a-f]{64}$/

async function* digestsBelow(store: BlobStore, prefix: string): AsyncIterable<Digest> {
  for await (const key of store.list(prefix)) {
    const rest = key.slice(prefix.length)
    if (hexForm.test(rest)) yield digestOfHex(rest)
  }
}
