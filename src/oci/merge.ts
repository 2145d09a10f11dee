import type { ByteName } from './entry-name.ts'
import type { Spool } from './spool.ts'
import type { TarEntry, TarItem } from './tar-entry.ts'
import { noXattrs } from './tar-entry.ts'
import { readTar, type TarLimits } from './tar-reader.ts'
import type { FileNode, Tree, TreeNode } from './tree.ts'
import { baseNameOf, invalidImage, join, layerPath, parentOf } from './tree.ts'

const whiteoutPrefix = '.wh.'
const opaqueMarker = '.wh..wh..opq'

/** What one entry of a layer does, in the layer's order. */
type LayerStep =
  | { kind: 'put'; path: ByteName; node: TreeNode }
  | { kind: 'link'; path: ByteName; target: ByteName }
  | { kind: 'remove'; path: ByteName }
  | { kind: 'empty'; path: ByteName }

/** How content is taken: into a spool, or only its digest. */
export type TakeContent = (body: AsyncIterable<Uint8Array>) => Promise<Content>
type Content = Pick<FileNode, 'size' | 'digest' | 'content'>

export function intoSpool(spool: Spool): TakeContent {
  return async (body) => {
    const content = await spool.write(body)
    return { size: content.size, digest: content.digest, content }
  }
}

/**
 * The tree after one more layer of the image format: deletions first, since they speak of lower layers
 * only, then everything else in order. Throws `invalid_archive`, `invalid_image`.
 */
export async function mergeLayer(
  below: Tree,
  layer: AsyncIterable<Uint8Array>,
  options: { take: TakeContent; limits?: TarLimits },
): Promise<Tree> {
  const steps: LayerStep[] = []
  for await (const item of readTar(layer, options.limits)) {
    const step = await stepOf(item, options.take)
    if (step !== undefined) steps.push(step)
  }
  const tree = new Map(below)
  for (const step of steps) if (step.kind === 'remove' || step.kind === 'empty') apply(tree, step)
  for (const step of steps) if (step.kind === 'put' || step.kind === 'link') apply(tree, step)
  return tree
}

async function stepOf({ entry, body }: TarItem, take: TakeContent): Promise<LayerStep | undefined> {
  const path = layerPath(entry.name)
  const name = baseNameOf(path)
  if (path === '') return undefined
  if (name === opaqueMarker) return { kind: 'empty', path: parentOf(path) }
  // Others of this kind are an old storage driver's own.
  if (name.startsWith(`${whiteoutPrefix}${whiteoutPrefix}`)) return undefined
  if (name.startsWith(whiteoutPrefix)) {
    return { kind: 'remove', path: join(parentOf(path), name.slice(whiteoutPrefix.length)) }
  }
  if (entry.type === 'link') return { kind: 'link', path, target: layerPath(entry.linkname) }
  return { kind: 'put', path, node: await nodeOf(entry, () => take(body)) }
}

async function nodeOf(entry: TarEntry, take: () => Promise<Content>): Promise<TreeNode> {
  const { type, mode, uid, gid, mtime, xattrs, linkname, device, name } = entry
  const attributes = { mode, uid, gid, mtime, xattrs }
  switch (type) {
    case 'file':
      return { ...attributes, type, ...(await take()) }
    case 'directory':
    case 'fifo':
      return { ...attributes, type }
    case 'symlink':
      return { ...attributes, type, mode: 0o777, target: linkname }
    case 'character':
    case 'block':
      return { ...attributes, type, device }
    case 'link':
      throw invalidImage(name, 'a hard link without a target')
  }
}

function apply(tree: Map<ByteName, TreeNode>, step: LayerStep): void {
  const { path } = step
  switch (step.kind) {
    case 'remove':
      tree.delete(path)
      removeBelow(tree, path)
      return
    case 'empty':
      removeBelow(tree, path)
      return
    case 'put':
      put(tree, path, step.node)
      return
    case 'link': {
      const node = tree.get(step.target)
      if (node === undefined || node.type === 'directory') {
        throw invalidImage(path, 'a hard link to nothing')
      }
      put(tree, path, node)
    }
  }
}

function removeBelow(tree: Map<ByteName, TreeNode>, path: ByteName): void {
  const prefix = path === '' ? '' : `${path}/`
  for (const key of tree.keys()) if (key.startsWith(prefix)) tree.delete(key)
}

function put(tree: Map<ByteName, TreeNode>, path: ByteName, node: TreeNode): void {
  addParent(tree, path)
  if (node.type !== 'directory' && tree.get(path)?.type === 'directory') removeBelow(tree, path)
  tree.set(path, node)
}

/** Engines always name the folders above an entry; where another writer did not, they are root's. */
function addParent(tree: Map<ByteName, TreeNode>, path: ByteName): void {
  const parent = parentOf(path)
  if (parent === '') return
  const node = tree.get(parent)
  if (node?.type === 'directory') return
  if (node !== undefined) throw invalidImage(path, 'an entry below something that is no folder')
  addParent(tree, parent)
  tree.set(parent, {
    type: 'directory',
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: 0,
    xattrs: noXattrs,
  })
}
