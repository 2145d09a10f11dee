import type { KilnError } from '../domain/error.ts'
import { decodeName, encodeName } from './entry-name.ts'
import { parentsOf, refuseEntry, sourcePath } from './source-name.ts'
import type { Spool, Spooled } from './spool.ts'
import type { TarEntry } from './tar-entry.ts'
import type { TarLimits } from './tar-reader.ts'
import { readTar } from './tar-reader.ts'

export type SourceNode =
  | { type: 'directory' }
  | { type: 'file'; executable: boolean; content: Spooled }
  | { type: 'symlink'; target: string }

/** A tree of source files by path, in no order; every parent is there as a directory. */
export type SourceTree = ReadonlyMap<string, SourceNode>

/** Which names may not stand side by side: those that differ only in Unicode form, or in case as well. */
export type Twins = 'unicode' | 'unicode-and-case'

export const sourceLimits: TarLimits = {
  entries: 200_000,
  name: 4096,
  extension: 64 * 1024,
  total: 4 * 1024 ** 3,
}

/**
 * Reads a tar of source files strictly, content into the spool. Files, folders and symlinks that stay
 * inside the tree; anything else is refused with `invalid_archive` and its place.
 */
export async function readSourceTree(
  source: AsyncIterable<Uint8Array>,
  options: { spool: Spool; twins: Twins; limits?: TarLimits },
): Promise<SourceTree> {
  const nodes = new Map<string, SourceNode>()
  const named = new Set<string>()
  const twins = twinCheck(options.twins)
  for await (const { entry, body } of readTar(source, options.limits ?? sourceLimits)) {
    const path = sourcePath(entry.name, entry.type === 'directory')
    if (named.has(path)) refuseEntry(entry.name, 'two entries of one name')
    named.add(path)
    if (path === '') continue
    for (const parent of parentsOf(path)) addParent(nodes, parent, entry)
    twins(path, entry)
    const node = await nodeOf(entry, body, options.spool)
    if (nodes.has(path) && node.type !== 'directory') {
      refuseEntry(entry.name, 'a name that is a folder as well')
    }
    nodes.set(path, node)
  }
  for (const [path, node] of nodes) if (node.type === 'symlink') checkLink(nodes, path)
  return nodes
}

function addParent(nodes: Map<string, SourceNode>, parent: string, entry: TarEntry): void {
  const above = nodes.get(parent)
  if (above === undefined) nodes.set(parent, { type: 'directory' })
  else if (above.type !== 'directory') refuseEntry(entry.name, `${parent} above it is no folder`)
}

async function nodeOf(
  entry: TarEntry,
  body: AsyncIterable<Uint8Array>,
  spool: Spool,
): Promise<SourceNode> {
  switch (entry.type) {
    case 'directory':
      return { type: 'directory' }
    case 'file':
      return {
        type: 'file',
        executable: (entry.mode & 0o100) !== 0,
        content: await spool.write(body),
      }
    case 'symlink':
      return {
        type: 'symlink',
        target: decodeName(entry.linkname) ?? refuseEntry(entry.name, 'a target that is not UTF-8'),
      }
    case 'link':
      return refuseEntry(entry.name, 'hard links are not taken')
    case 'character':
    case 'block':
    case 'fifo':
      return refuseEntry(entry.name, `a ${entry.type} device or pipe is not taken`)
  }
}

function twinCheck(twins: Twins): (path: string, entry: TarEntry) => void {
  const seen = new Map<string, string>()
  return (path, entry) => {
    // Folders that only stand in names have twins too, so every prefix is looked at.
    for (const one of [...parentsOf(path), path]) {
      const form = one.normalize('NFC')
      const key = twins === 'unicode-and-case' ? form.toLowerCase() : form
      const other = seen.get(key)
      if (other === undefined) seen.set(key, one)
      else if (other !== one) {
        refuseEntry(entry.name, `${other} differs from it only in case or Unicode form`)
      }
    }
  }
}

const mostLinks = 40

/** Follows a symlink part by part, as the kernel would, through other links of the tree. */
function checkLink(nodes: SourceTree, path: string): KilnError | undefined {
  const name = encodeName(path)
  let followed = 0
  const at: string[] = path.split('/').slice(0, -1)
  const todo: string[] = [path.split('/').at(-1) ?? '']
  while (todo.length > 0) {
    const part = todo.shift() ?? ''
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (at.pop() === undefined) return refuseEntry(name, 'a link that leads out of the tree')
      continue
    }
    const node = nodes.get([...at, part].join('/'))
    if (node?.type !== 'symlink') {
      at.push(part)
      continue
    }
    followed += 1
    if (followed > mostLinks) return refuseEntry(name, 'a link that leads in circles')
    if (/^\/|\\|\p{Cc}/u.test(node.target)) return refuseEntry(name, 'a link out of the tree')
    todo.unshift(...node.target.split('/'))
  }
  return undefined
}
