import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { readBaseTree } from '../oci/base-tree.ts'
import { writeCanonicalLayer } from '../oci/canonical-layer.ts'
import { planLayer, settledTree } from '../oci/changes.ts'
import { artifactConfig, type ArtifactFacts } from '../oci/config.ts'
import { writeFilesManifest } from '../oci/files-manifest.ts'
import type { Descriptor } from '../oci/image.ts'
import { mediaTypes } from '../oci/image.ts'
import { intoSpool, mergeLayer } from '../oci/merge.ts'
import type { StoredImage } from '../oci/read-image.ts'
import { openLayer, parseImage, readImage } from '../oci/read-image.ts'
import type { Spool } from '../oci/spool.ts'
import { openSpool } from '../oci/spool.ts'
import type { Tree } from '../oci/tree.ts'
import { oneChunk, writeImage } from '../oci/write-image.ts'
import type { BlobStore } from '../store/blob-store.ts'

export type CanonicalArtifact = {
  artifact: Digest
  /** Blob: the per-file manifest of the complete root file system. */
  files: Digest
  /** Blob: the one layer on top of the base; null when the build changed nothing. */
  layer: Digest | null
}

type Folders = { store: BlobStore; scratchFolder: string; cacheFolder: string }

/**
 * Turns what an engine pushed into the artifact: everything that it changed against the base, as one
 * canonical layer, under a config of Kiln's own. Throws `invalid_image` when it is not built on the base.
 */
export async function canonicalise(
  folders: Folders,
  built: ArtifactFacts & { manifest: Uint8Array; base: Digest },
): Promise<CanonicalArtifact> {
  const { store } = folders
  const base = await readImage(store, built.base)
  const image = await parseImage(store, built.manifest)
  checkBase(base, image)
  const baseTree = await readBaseTree(folders, { digest: built.base, image: base })
  const time = built.source.committedAt
  const spool = await openSpool(folders.scratchFolder)
  try {
    const tree = await mergeNewLayers(store, { base, image, baseTree, spool })
    const settled = settledTree(baseTree, tree)
    const plan = planLayer(baseTree, settled)
    const layer =
      plan.length === 0 ? null : await store.putBlob(writeCanonicalLayer(plan, { spool, time }))
    const manifest = writeFilesManifest(settled, { times: false })
    const files = await store.putBlob(oneChunk(Buffer.from(manifest)))
    const artifact = await writeArtifact(store, { base, image, layer, built })
    return { artifact: artifact.digest, files: files.digest, layer: layer?.digest ?? null }
  } finally {
    await spool.close()
  }
}

/** The layers of the base must be there unchanged and uncompressed; what follows is the build's. */
function checkBase(base: StoredImage, image: StoredImage): void {
  if (!base.diffIds.every((diffId, at) => diffId === image.diffIds[at])) {
    throw new KilnError('invalid_image', 'what was built does not stand on the base')
  }
  if (!base.layers.every(({ digest }, at) => digest === base.diffIds[at])) {
    throw new KilnError('invalid_image', 'the base has compressed layers')
  }
}

async function mergeNewLayers(
  store: BlobStore,
  given: { base: StoredImage; image: StoredImage; baseTree: Tree; spool: Spool },
): Promise<Tree> {
  const { base, image, spool } = given
  let tree = given.baseTree
  for (const [at, { digest }] of image.layers.entries()) {
    const diffId = image.diffIds[at]
    if (at < base.layers.length || diffId === undefined) continue
    tree = await mergeLayer(tree, openLayer(store, { digest, diffId }), { take: intoSpool(spool) })
  }
  return tree
}

async function writeArtifact(
  store: BlobStore,
  given: {
    base: StoredImage
    image: StoredImage
    layer: { digest: Digest; size: number } | null
    built: ArtifactFacts
  },
): Promise<Descriptor> {
  const { base, image, layer, built } = given
  const added = layer === null ? [] : [{ mediaType: mediaTypes.layer, ...layer }]
  const layers = [...base.layers, ...added]
  const config = artifactConfig(image.config, {
    ...built,
    diffIds: layers.map(({ digest }) => digest),
  })
  return writeImage(store, { config, layers })
}
