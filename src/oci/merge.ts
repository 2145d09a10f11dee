import type { ByteName } from './entry-name.ts'
import type { Spool } from './spool.ts'
import type { TarEntry, TarItem } from './tar-entry.ts'
import { noXattrs } from './tar-entry.ts'
import { defaultTarLimits, readTar, type TarLimits } from './tar-reader.ts'
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
 * only, then everything else in order. A tree may hold as many files and folders as a tar may have
 * entries. Throws `invalid_archive`, `invalid_image`.
 */
export async function mergeLayer(
  below: Tree,
  layer: AsyncIterable<Uint8Array>,
  options: { take: TakeContent; limits?: TarLimits },
): Promise<Tree> {
  const limits = options.limits ?? defaultTarLimits
  const steps: LayerStep[] = []
  for await (const item of readTar(layer, limits)) {
    const step = await stepOf(item, options.take)
    if (step !== undefined) steps.push(step)
  }
  const top: Top = { tree: withoutDeleted(below, steps), filled: new Set(), most: limits.entries }
  for (const step of steps) {
    if (step.kind === 'put') put(top, step.path, step.node)
    if (step.kind === 'link') put(top, step.path, targetOf(top.tree, step))
  }
  return top.tree
}

async function stepOf({ entry, body }: TarItem, take: TakeContent): Promise<LayerStep | undefined> {
  const path = layerPath(entry.name)
  const name = baseNameOf(path)
  if (path === '') return undefined
  if (name === opaqueMarker) return { kind: 'empty', path: parentOf(path) }
  // Others of this kind are an old storage driver's own.
  if (name.startsWith(`${whiteoutPrefix}${whiteoutPrefix}`)) return undefined
  if (name.startsWith(whiteoutPrefix)) {
    const deleted = name.slice(whiteoutPrefix.length)
    if (['', '.', '..'].includes(deleted)) {
      throw invalidImage(entry.name, 'a deletion of something without a name of its own')
    }
    return { kind: 'remove', path: join(parentOf(path), deleted) }
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

/** In one pass, however many deletions there are: a layer may delete a hundred thousand files one by one. */
function withoutDeleted(below: Tree, steps: readonly LayerStep[]): Map<ByteName, TreeNode> {
  const removed = new Set<ByteName>()
  const emptied = new Set<ByteName>()
  for (const step of steps) {
    if (step.kind === 'remove') removed.add(step.path)
    else if (step.kind === 'empty' || replacesFolder(below, step)) emptied.add(step.path)
  }
  if (removed.size + emptied.size === 0) return new Map(below)
  const gone = new Map<ByteName, boolean>([['', emptied.has('')]])
  /** Whether what lies in a folder is deleted. */
  const isEmptied = (folder: ByteName): boolean => {
    const known = gone.get(folder)
    if (known !== undefined) return known
    const found = emptied.has(folder) || removed.has(folder) || isEmptied(parentOf(folder))
    gone.set(folder, found)
    return found
  }
  return new Map([...below].filter(([path]) => !removed.has(path) && !isEmptied(parentOf(path))))
}

function replacesFolder(below: Tree, step: LayerStep): boolean {
  if (below.get(step.path)?.type !== 'directory') return false
  return step.kind === 'link' || (step.kind === 'put' && step.node.type !== 'directory')
}

function targetOf(tree: Tree, { path, target }: { path: ByteName; target: ByteName }): TreeNode {
  const node = tree.get(target)
  if (node !== undefined && node.type !== 'directory') return node
  throw invalidImage(path, 'a hard link to nothing')
}

/** The tree that a layer is put upon, the folders that the layer fills, and how much it may hold. */
type Top = { tree: Map<ByteName, TreeNode>; filled: Set<ByteName>; most: number }

function put(top: Top, path: ByteName, node: TreeNode): void {
  addParent(top, path)
  if (node.type !== 'directory' && top.filled.has(path)) {
    throw invalidImage(path, 'a file in the place of a folder that the same layer fills')
  }
  add(top, path, node)
}

function add({ tree, most }: Top, path: ByteName, node: TreeNode): void {
  tree.set(path, node)
  if (tree.size > most) throw invalidImage(path, `more than ${most} files and folders`)
}

/** Engines always name the folders above an entry; where another writer did not, they are root's. */
function addParent(top: Top, path: ByteName): void {
  const parent = parentOf(path)
  if (parent === '') return
  top.filled.add(parent)
  const node = top.tree.get(parent)
  if (node?.type === 'directory') return
  if (node !== undefined) throw invalidImage(path, 'an entry below something that is no folder')
  addParent(top, parent)
  add(top, parent, rootsFolder)
}

const rootsFolder: TreeNode = {
  type: 'directory',
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: 0,
  xattrs: noXattrs,
}
