import type { ByteName } from './entry-name.ts'
import type { Tree, TreeNode } from './tree.ts'
import { baseNameOf, join, parentOf, sameNode } from './tree.ts'

/** One entry of the canonical layer. */
export type LayerEntry =
  | { kind: 'whiteout'; name: ByteName }
  | { kind: 'node'; name: ByteName; node: TreeNode }
  /** A hard link to `to`, which comes before it. */
  | { kind: 'link'; name: ByteName; node: TreeNode; to: ByteName }

/** What the engine leaves behind and what a build may use as scratch; never part of an artifact. */
const scratchFiles: ReadonlySet<string> = new Set([
  '.dockerenv',
  'run/.containerenv',
  'etc/hosts',
  'etc/hostname',
  'etc/resolv.conf',
  'etc/mtab',
  'root/.npm',
  'root/.cache',
  'var/cache/ldconfig/aux-cache',
])
const scratchFolders = ['proc', 'sys', 'dev', 'tmp', 'var/tmp', 'run', 'root/.npm', 'root/.cache']

export function isScratch(path: ByteName): boolean {
  return scratchFiles.has(path) || scratchFolders.some((folder) => path.startsWith(`${folder}/`))
}

/**
 * What the artifact's root file system is: what the build made, with scratch as the base has it, and the
 * base's own node wherever nothing but the time changed. Pure.
 */
export function settledTree(base: Tree, built: Tree): Tree {
  const paths = new Set([...base.keys(), ...built.keys()])
  const tree = new Map<ByteName, TreeNode>()
  for (const path of [...paths].toSorted(byBytes)) {
    const before = base.get(path)
    const node = isScratch(path) ? before : built.get(path)
    const parent = parentOf(path)
    if (node === undefined || (parent !== '' && tree.get(parent)?.type !== 'directory')) continue
    tree.set(path, before !== undefined && sameNode(before, node) ? before : node)
  }
  return tree
}

/**
 * The entries of the one layer that turns `base` into `settled`, in the order of their bytes: what
 * changed, the folders above it with the attributes they have, and the topmost of what was deleted. Pure.
 */
export function planLayer(base: Tree, settled: Tree): readonly LayerEntry[] {
  const deleted = [...base.keys()].filter((path) => isTopmostDeleted(settled, path))
  const named = new Map<ByteName, TreeNode>()
  for (const [path, node] of settled) {
    if (base.get(path) === node) continue
    named.set(path, node)
    nameParents(named, settled, path)
  }
  for (const path of deleted) nameParents(named, settled, path)
  const whiteouts = deleted.map((path): LayerEntry => {
    return { kind: 'whiteout', name: join(parentOf(path), `.wh.${baseNameOf(path)}`) }
  })
  const entries = [...whiteouts, ...withLinks(named)]
  return entries.toSorted((left, right) => byBytes(left.name, right.name))
}

/** What lies below a deleted or replaced folder goes with it. */
function isTopmostDeleted(settled: Tree, path: ByteName): boolean {
  const parent = parentOf(path)
  return !settled.has(path) && (parent === '' || settled.get(parent)?.type === 'directory')
}

/** The first path of a file holds its content, the others link to it; an unchanged one is no part of it. */
function withLinks(named: Tree): LayerEntry[] {
  const firsts = new Map<TreeNode, ByteName>()
  const sorted = [...named].toSorted(([left], [right]) => byBytes(left, right))
  return sorted.map(([name, node]) => {
    const to = node.type === 'file' ? firsts.get(node) : undefined
    if (to !== undefined) return { kind: 'link', name, node, to }
    firsts.set(node, name)
    return { kind: 'node', name, node }
  })
}

/** Without them an engine would make the folders anew, with attributes of its own. */
function nameParents(named: Map<ByteName, TreeNode>, settled: Tree, path: ByteName): void {
  for (let parent = parentOf(path); parent !== ''; parent = parentOf(parent)) {
    const node = settled.get(parent)
    if (named.has(parent) || node === undefined) return
    named.set(parent, node)
  }
}

/** Byte names compare by their bytes. */
export function byBytes(left: ByteName, right: ByteName): number {
  return left < right ? -1 : Number(left > right)
}
