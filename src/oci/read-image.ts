import { createHash } from 'node:crypto'
import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { z } from 'zod'
import type { Digest } from '../domain/digest.ts'
import { digestOfHex, isDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { byteInput } from './byte-input.ts'
import type { Descriptor } from './image.ts'
import { mediaTypes } from './image.ts'

const digest = z.string().refine(isDigest)
const descriptor = z.object({
  mediaType: z.string(),
  digest,
  size: z.int().min(0),
  urls: z.never('foreign layers are not taken').optional(),
})

const manifest = z.object({
  schemaVersion: z.literal(2),
  mediaType: z
    .enum([mediaTypes.manifest, 'application/vnd.docker.distribution.manifest.v2+json'])
    .optional(),
  manifests: z.never('an image that is an index as well').optional(),
  config: descriptor,
  layers: z.array(descriptor).max(200),
})

const words = z.array(z.string()).nullish()

/** What Kiln reads of an engine's config; everything else in it is left behind. */
const engineConfig = z.object({
  architecture: z.string().min(1),
  os: z.literal('linux'),
  config: z
    .object({
      User: z.string().nullish(),
      Env: words,
      Entrypoint: words,
      Cmd: words,
      WorkingDir: z.string().nullish(),
      StopSignal: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digest) }),
})

export type EngineConfig = z.infer<typeof engineConfig>

/** An image as its manifest and config say; `diffIds` are the digests of the uncompressed layers. */
export type StoredImage = {
  layers: readonly Descriptor[]
  diffIds: readonly Digest[]
  config: EngineConfig
}

const biggestDocument = 4 * 1024 * 1024

/** Reads an image's manifest and config from the store. Throws `invalid_image` or `not_found`. */
export async function readImage(store: BlobStore, image: Digest): Promise<StoredImage> {
  return parseImage(store, await readDocument(store, image))
}

/** The same for a manifest whose bytes the caller has. */
export async function parseImage(store: BlobStore, bytes: Uint8Array): Promise<StoredImage> {
  const { layers, config: at } = parse(manifest, bytes, 'manifest')
  const config = parse(engineConfig, await readDocument(store, at.digest), 'config')
  const diffIds = config.rootfs.diff_ids
  if (layers.length !== diffIds.length) {
    throw new KilnError('invalid_image', 'the manifest and the config name different layers', {
      place: 'config.rootfs.diff_ids',
    })
  }
  return { layers, diffIds, config }
}

function parse<T>(shape: z.ZodType<T>, bytes: Uint8Array, what: string): T {
  try {
    return shape.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (cause) {
    throw new KilnError('invalid_image', `the image's ${what} is not one that Kiln takes`, {
      cause,
      place: what,
    })
  }
}

async function readDocument(store: BlobStore, at: Digest): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const bytes of await openBlob(store, at)) {
    size += bytes.length
    if (size > biggestDocument)
      throw new KilnError('invalid_image', 'too big to be read', { place: at })
    parts.push(bytes)
  }
  const bytes = Buffer.concat(parts)
  if (digestOfHex(createHash('sha256').update(bytes).digest('hex')) === at) return bytes
  throw new KilnError('digest_mismatch', `the store holds other bytes under ${at}`, { place: at })
}

/** A blob's bytes. Throws `not_found`. */
export async function openBlob(store: BlobStore, at: Digest): Promise<AsyncIterable<Uint8Array>> {
  const content = await store.readBlob(at)
  if (content === undefined)
    throw new KilnError('not_found', `the store has no ${at}`, { place: at })
  return content
}

/**
 * A layer's tar, uncompressed. Throws `digest_mismatch`, at its end, when it is not `diffId`, and
 * `invalid_image` for a broken compression.
 */
export async function* openLayer(
  store: BlobStore,
  layer: { digest: Digest; diffId: Digest },
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  const content = await openBlob(store, layer.digest)
  for await (const bytes of await uncompressed(content, layer.digest)) {
    hash.update(bytes)
    yield bytes
  }
  if (digestOfHex(hash.digest('hex')) === layer.diffId) return
  throw new KilnError('digest_mismatch', `the layer does not hold ${layer.diffId}`, {
    place: `layer ${layer.digest}`,
  })
}

async function uncompressed(
  content: AsyncIterable<Uint8Array>,
  at: Digest,
): Promise<AsyncIterable<Uint8Array>> {
  const input = byteInput(content)
  const start = await input.take(2)
  const all = whole(start, input)
  if (start[0] !== 0x1f || start[1] !== 0x8b) return all
  const gunzip = createGunzip()
  // The iteration below meets every error of the pipeline, so that nothing is left to do here.
  pipeline(Readable.from(all, { objectMode: false }), gunzip, () => undefined)
  return broken(gunzip, at)
}

async function* whole(
  start: Uint8Array,
  input: ReturnType<typeof byteInput>,
): AsyncGenerator<Uint8Array> {
  try {
    yield start
    for (;;) {
      const bytes = await input.some(65_536)
      if (bytes.length === 0) return
      yield bytes
    }
  } finally {
    await input.close()
  }
}

async function* broken(gunzip: AsyncIterable<Uint8Array>, at: Digest): AsyncGenerator<Uint8Array> {
  try {
    yield* gunzip
  } catch (cause) {
    if (cause instanceof KilnError) throw cause
    throw new KilnError('invalid_image', 'a layer whose compression is broken', {
      cause,
      place: `layer ${at}`,
    })
  }
}
