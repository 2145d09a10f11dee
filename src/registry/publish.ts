import { KilnError } from '../domain/error.ts'
import { mediaTypes, type Descriptor, type Manifest } from '../oci/image.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { manifestMarker, referrerMarker } from './catalog.ts'
import { contentOf, digestOfBytes, parseManifest } from './manifest.ts'
import { isRepositoryName } from './name.ts'

const encode = (text: string) => new TextEncoder().encode(text)

/**
 * Makes an OCI manifest pullable from a repository. Its config and layers must be in the store with
 * the sizes that it says (`invalid_image` otherwise). The marker is written last, so that what a
 * repository holds can be pulled whole; doing it again changes nothing.
 */
export async function publishManifest(
  store: BlobStore,
  { repository, manifest }: { repository: string; manifest: Uint8Array },
): Promise<Descriptor> {
  if (!isRepositoryName(repository)) {
    throw new KilnError('invalid_image', `not a repository name: ${JSON.stringify(repository)}`)
  }
  const parsed = parseManifest(manifest)
  for (const { digest, size } of contentOf(parsed)) {
    const stored = await store.size(blobKey(digest))
    if (stored !== size) {
      throw new KilnError(
        'invalid_image',
        `the manifest names ${digest} of ${size} bytes, the store has ${stored ?? 'none'}`,
      )
    }
  }
  const { digest, size } = await store.putBlob(once(manifest), digestOfBytes(manifest))
  await store.put(manifestMarker(repository, digest), encode(`${digest}\n`))
  return { mediaType: parsed.mediaType, digest, size }
}

export type ReferrerRequest = {
  repository: string
  /** The manifest that this one speaks about. */
  subject: Descriptor
  artifactType: string
  /** Media type of the content, the manifest's only layer. */
  mediaType: string
  content: Uint8Array
  annotations?: Readonly<Record<string, string>>
}

/**
 * Attaches content to a manifest as an OCI 1.1 referrer: the empty config, one layer, `subject`.
 * The bytes depend on the request alone, so the same request again gives the same digest.
 */
export async function attachReferrer(
  store: BlobStore,
  request: ReferrerRequest,
): Promise<Descriptor> {
  const { mediaType, digest, size } = request.subject
  const empty = await store.putBlob(once(encode('{}')))
  const layer = await store.putBlob(once(request.content), digestOfBytes(request.content))
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: request.artifactType,
    config: { mediaType: mediaTypes.empty, ...empty },
    layers: [{ mediaType: request.mediaType, ...layer }],
    subject: { mediaType, digest, size },
    ...(request.annotations === undefined ? {} : { annotations: sorted(request.annotations) }),
  }
  const published = await publishManifest(store, {
    repository: request.repository,
    manifest: encode(JSON.stringify(manifest)),
  })
  await store.put(referrerMarker(digest, published.digest), encode(`${published.digest}\n`))
  return { ...published, artifactType: request.artifactType }
}

function sorted(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}
