import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Descriptor } from '../oci/image.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { attachReferrer, publishManifest } from './publish.ts'

export type RegistryActivities = ReturnType<typeof registryActivities>

/** A signed statement's bundle, under its key in the store. */
export type BundleAt = {
  key: string
  predicateType: string
  /** RFC 3339; the statement's own time, so that publishing again gives the same bytes. */
  created: string
}

export type PublishRequest = {
  found: { app: string }
  artifact: Digest
  /** Blob: CycloneDX SBOM. */
  sbom: Digest
  /** Blob: the per-file manifest. */
  files: Digest
  bundles: readonly BundleAt[]
}

const bundleMediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json'
const sbomMediaType = 'application/vnd.cyclonedx+json'
const filesMediaType = 'application/vnd.kiln.files.v1+json'

/** What the server does in the registry; each may be repeated without effect. */
export function registryActivities({ store }: { store: BlobStore }) {
  async function bytesAt(key: string): Promise<Uint8Array> {
    const bytes = await store.get(key)
    if (bytes === undefined) throw new KilnError('not_found', `the store has no ${key}`)
    return bytes
  }
  return {
    /** Makes an artifact pullable from the repository of its app, with all that was said of it. */
    async publishArtifact(request: PublishRequest): Promise<{ referrers: readonly Descriptor[] }> {
      const repository = request.found.app
      const manifest = await bytesAt(blobKey(request.artifact))
      const subject = await publishManifest(store, { repository, manifest })
      const attach = async (mediaType: string, key: string, annotations = {}) =>
        attachReferrer(store, {
          repository,
          subject,
          artifactType: mediaType,
          mediaType,
          content: await bytesAt(key),
          annotations,
        })
      const referrers = [
        await attach(sbomMediaType, blobKey(request.sbom)),
        await attach(filesMediaType, blobKey(request.files)),
      ]
      for (const bundle of request.bundles) {
        referrers.push(await attach(bundleMediaType, bundle.key, bundleAnnotations(bundle)))
      }
      return { referrers }
    },

    /** Attaches one more signed statement to a published artifact: a provisioning key, above all. */
    async attachBundle(request: {
      repository: string
      subject: Digest
      bundle: BundleAt
    }): Promise<Descriptor> {
      const { repository, bundle } = request
      const manifest = await bytesAt(blobKey(request.subject))
      return attachReferrer(store, {
        repository,
        subject: await publishManifest(store, { repository, manifest }),
        artifactType: bundleMediaType,
        mediaType: bundleMediaType,
        content: await bytesAt(bundle.key),
        annotations: bundleAnnotations(bundle),
      })
    },
  }
}

/** What cosign looks for on a bundle's referrer. */
function bundleAnnotations({ predicateType, created }: BundleAt): Record<string, string> {
  return {
    'dev.sigstore.bundle.content': 'dsse-envelope',
    'dev.sigstore.bundle.predicateType': predicateType,
    'org.opencontainers.image.created': created,
  }
}
