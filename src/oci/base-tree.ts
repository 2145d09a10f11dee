import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../domain/digest.ts'
import { digestOfHex, hexOf } from '../domain/digest.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { parseFilesManifest, treeOfRecords, writeFilesManifest } from './files-manifest.ts'
import { mergeLayer, type TakeContent } from './merge.ts'
import type { StoredImage } from './read-image.ts'
import { openLayer } from './read-image.ts'
import type { Tree } from './tree.ts'

/**
 * The root file system of a base image. Reading all of its layers takes most of a second, so the index is
 * kept in `cacheFolder`; a cached one counts only while it is whole.
 */
export async function readBaseTree(
  { store, cacheFolder }: { store: BlobStore; cacheFolder: string },
  { digest, image }: { digest: Digest; image: StoredImage },
): Promise<Tree> {
  const path = join(cacheFolder, `base-1-${hexOf(digest)}`)
  const cached = await readCached(path)
  if (cached !== undefined) return treeOfRecords(parseFilesManifest(cached))
  const tree = await mergeLayers(store, image)
  const text = writeFilesManifest(tree, { times: true })
  await mkdir(cacheFolder, { recursive: true })
  const temporary = `${path}.${randomUUID()}`
  await writeFile(temporary, `${sumOf(text)}\n${text}`)
  await rename(temporary, path)
  return tree
}

async function readCached(path: string): Promise<string | undefined> {
  let all: string
  try {
    all = await readFile(path, 'utf8')
  } catch {
    return undefined
  }
  const [sum = ''] = all.split('\n', 1)
  const text = all.slice(sum.length + 1)
  return sum === sumOf(text) ? text : undefined
}

function sumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

async function mergeLayers(store: BlobStore, { layers, diffIds }: StoredImage): Promise<Tree> {
  let tree: Tree = new Map()
  for (const [at, { digest }] of layers.entries()) {
    const diffId = diffIds[at] ?? digest
    tree = await mergeLayer(tree, openLayer(store, { digest, diffId }), { take: digestOnly })
  }
  return tree
}

const digestOnly: TakeContent = async (body) => {
  const hash = createHash('sha256')
  let size = 0
  for await (const bytes of body) {
    hash.update(bytes)
    size += bytes.length
  }
  return { size, digest: digestOfHex(hash.digest('hex')), content: null }
}
