import { canonicalJson, digestOf, digestOfJson } from '../../signing/canonical.ts'
import { hexOf, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { mediaTypes, type ImageConfig, type Manifest } from '../oci/image.ts'
import { writeImage } from '../oci/write-image.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'

/** Of a template; `fetch` null when it has no dependency step. */
export type Images = { base: Digest; fetch: Digest | null }

export type Layer = { digest: Digest; size: number; createdBy: string }

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Stores a manifest over stored layers; the same layers and epoch give the same digest. */
export async function publishImage(
  store: BlobStore,
  { epoch, layers }: { layers: readonly Layer[]; epoch: number },
): Promise<Digest> {
  const created = new Date(epoch * 1000).toISOString().replace('.000Z', 'Z')
  const config: ImageConfig = {
    architecture: 'amd64',
    os: 'linux',
    created,
    config: { Env: [`PATH=${path}`] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    history: layers.map(({ createdBy }) => ({ created, created_by: createdBy })),
  }
  const image = await writeImage(store, {
    config,
    layers: layers.map(({ digest, size }) => ({ mediaType: mediaTypes.layer, digest, size })),
  })
  return image.digest
}

/** The layers of a stored image, in order. Throws `input_unavailable` when a part of it is missing. */
export async function layersOf(store: BlobStore, image: Digest): Promise<Layer[]> {
  const manifest = await readManifest(store, image)
  if (manifest === undefined || !(await hasBlobs(store, manifest))) {
    throw new KilnError('input_unavailable', `the image ${image} is not whole in the store`)
  }
  const config = await readJson(store, manifest.config.digest)
  const history = (config as ImageConfig).history
  return manifest.layers.map(({ digest, size }, index) => ({
    digest,
    size,
    createdBy: history[index]?.created_by ?? '',
  }))
}

/** Whether the manifest, its config and its layers are in the store, each as long as it should be. */
export async function hasImage(store: BlobStore, image: Digest): Promise<boolean> {
  const manifest = await readManifest(store, image)
  return manifest !== undefined && (await hasBlobs(store, manifest))
}

async function hasBlobs(store: BlobStore, manifest: Manifest): Promise<boolean> {
  const sizes = await Promise.all(
    [manifest.config, ...manifest.layers].map(
      async ({ digest, size }) => (await store.size(blobKey(digest))) === size,
    ),
  )
  return sizes.every(Boolean)
}

async function readManifest(store: BlobStore, image: Digest): Promise<Manifest | undefined> {
  if ((await store.size(blobKey(image))) === undefined) return undefined
  return (await readJson(store, image)) as Manifest
}

async function readJson(store: BlobStore, digest: Digest): Promise<unknown> {
  const bytes = await store.get(blobKey(digest))
  if (bytes === undefined || digestOf(bytes) !== digest) {
    throw new KilnError('digest_mismatch', `the store's ${digest} holds other bytes`, {
      fix: 'kiln fsck',
    })
  }
  return JSON.parse(Buffer.from(bytes).toString())
}

/** What decided an image's bytes, named one by one so that a difference can be named. */
export type ImageInputs = Readonly<Record<string, string>>

type Made = { images: Images; inputs: ImageInputs }

/**
 * Remembers in the store what an image was made of, and what those inputs made. Throws
 * `not_reproducible` when the same inputs made something else before.
 */
export async function remember(store: BlobStore, { images, inputs }: Made): Promise<void> {
  const before = await recallImages(store, inputs)
  if (before !== undefined && digestOfJson(before) !== digestOfJson(images)) {
    throw new KilnError(
      'not_reproducible',
      `the same inputs made ${before.base} before and ${images.base} now`,
    )
  }
  const record = canonicalJson({ version: 1, images, inputs })
  if ((await recallInputs(store, images)) === undefined)
    await store.put(keyOf('images', images), record)
  if (before === undefined) await store.put(keyOf('inputs', inputs), record)
}

/** The images that exactly these inputs made in this store before. */
export async function recallImages(
  store: BlobStore,
  inputs: ImageInputs,
): Promise<Images | undefined> {
  return (await recall(store, keyOf('inputs', inputs)))?.images
}

/** What made the images in this store before. */
export async function recallInputs(
  store: BlobStore,
  images: Images,
): Promise<ImageInputs | undefined> {
  return (await recall(store, keyOf('images', images)))?.inputs
}

async function recall(store: BlobStore, key: string): Promise<Made | undefined> {
  const bytes = await store.get(key)
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString()) as Made)
}

function keyOf(kind: 'inputs' | 'images', value: ImageInputs | Images): string {
  return `templates/${kind}/${hexOf(digestOfJson(value))}`
}
