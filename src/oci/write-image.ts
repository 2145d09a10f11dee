import type { BlobStore } from '../store/blob-store.ts'
import type { Descriptor, ImageConfig, Manifest } from './image.ts'
import { mediaTypes } from './image.ts'

/**
 * Stores an image's config and manifest, whose layers are in the store already, and returns the
 * manifest's descriptor: its digest is the artifact.
 */
export async function writeImage(
  store: BlobStore,
  image: { config: ImageConfig; layers: readonly Descriptor[] },
): Promise<Descriptor> {
  const config = await putDocument(store, image.config)
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers: image.layers.map(({ digest, size }) => ({
      mediaType: mediaTypes.layer,
      digest,
      size,
    })),
  }
  return { mediaType: mediaTypes.manifest, ...(await putDocument(store, manifest)) }
}

function putDocument(
  store: BlobStore,
  document: object,
): Promise<Pick<Descriptor, 'digest' | 'size'>> {
  return store.putBlob(oneChunk(Buffer.from(JSON.stringify(document))))
}

/** Bytes at hand, as the store takes them. */
export async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
