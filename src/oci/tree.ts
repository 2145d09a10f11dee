import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { ByteName } from './entry-name.ts'
import { placeOf } from './entry-name.ts'
import type { Spooled } from './spool.ts'

type Attributes = {
  mode: number
  uid: number
  gid: number
  /** Whole seconds since 1970. */
  mtime: number
  xattrs: ReadonlyMap<string, string>
}

export type FileNode = Attributes & {
  type: 'file'
  size: number
  digest: Digest
  /** Null where only a base image holds the content. */
  content: Spooled | null
}

export type TreeNode =
  | FileNode
  | (Attributes & { type: 'directory' | 'fifo' })
  | (Attributes & { type: 'symlink'; target: ByteName })
  | (Attributes & { type: 'character' | 'block'; device: { major: number; minor: number } })

/**
 * A root file system: byte paths without `/` at either end, the root itself left out. Paths that are hard
 * links of each other share one node.
 */
export type Tree = ReadonlyMap<ByteName, TreeNode>

export function invalidImage(name: ByteName, why: string): KilnError {
  return new KilnError('invalid_image', `the layer is refused: ${why}`, { place: placeOf(name) })
}

/** The tree path that a layer's entry names, '' for the root. Throws `invalid_image` for a path that leads elsewhere. */
export function layerPath(name: ByteName): ByteName {
  const path = name.replace(/^\.\//, '').replace(/\/$/, '')
  if (path === '' || path === '.') return ''
  if (path.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw invalidImage(name, 'a path that does not lead straight down from the root')
  }
  return path
}

export function parentOf(path: ByteName): ByteName {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}

export function baseNameOf(path: ByteName): ByteName {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function join(parent: ByteName, name: ByteName): ByteName {
  return parent === '' ? name : `${parent}/${name}`
}

/** Whether two nodes are the same in all but mtime; whether they are hard links is not looked at. */
export function sameNode(left: TreeNode, right: TreeNode): boolean {
  if (left === right) return true
  return sameOwner(left, right) && sameXattrs(left.xattrs, right.xattrs) && sameKind(left, right)
}

function sameOwner(left: TreeNode, right: TreeNode): boolean {
  // A symlink's mode means nothing, and engines write different ones.
  const mode = left.type === 'symlink' || left.mode === right.mode
  return mode && left.uid === right.uid && left.gid === right.gid
}

function sameKind(left: TreeNode, right: TreeNode): boolean {
  if (left.type === 'file') return right.type === 'file' && left.digest === right.digest
  if (left.type === 'symlink') return right.type === 'symlink' && left.target === right.target
  if (left.type === 'character' || left.type === 'block') {
    return (
      right.type === left.type &&
      left.device.major === right.device.major &&
      left.device.minor === right.device.minor
    )
  }
  return left.type === right.type
}

function sameXattrs(left: TreeNode['xattrs'], right: TreeNode['xattrs']): boolean {
  return left.size === right.size && [...left].every(([key, value]) => right.get(key) === value)
}
