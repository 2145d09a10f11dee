import type { ByteName } from './entry-name.ts'
import { decodeName } from './entry-name.ts'
import { checkLinks } from './source-link.ts'
import { refuseEntry, sourcePath } from './source-name.ts'
import type { SourceNode, SourceTree } from './source-node.ts'
import type { Spool } from './spool.ts'
import type { TarEntry } from './tar-entry.ts'
import type { TarLimits } from './tar-reader.ts'
import { readTar } from './tar-reader.ts'

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
  const limits = options.limits ?? sourceLimits
  const nodes = new Map<string, SourceNode>()
  const named = new Set<string>()
  const twins = twinCheck(options.twins)
  /** Folders that only stand in names count and have twins too; whatever is in `nodes` was looked at. */
  const add = (path: string, node: SourceNode, { name }: TarEntry) => {
    if (!nodes.has(path)) twins(path, name)
    nodes.set(path, node)
    if (nodes.size > limits.entries) {
      refuseEntry(name, `more than ${limits.entries} files and folders`)
    }
  }
  for await (const { entry, body } of readTar(source, limits)) {
    const path = sourcePath(entry.name, entry.type === 'directory')
    if (named.has(path)) refuseEntry(entry.name, 'two entries of one name')
    named.add(path)
    if (path === '') continue
    for (const parent of missingParents(nodes, path, entry)) {
      add(parent, { type: 'directory' }, entry)
    }
    const node = await nodeOf(entry, body, options.spool)
    if (nodes.has(path) && node.type !== 'directory') {
      refuseEntry(entry.name, 'a name that is a folder as well')
    }
    add(path, node, entry)
  }
  checkLinks(nodes)
  return nodes
}

/** The folders above a path that are not there yet: none, nearly always. */
function missingParents(nodes: SourceTree, path: string, { name }: TarEntry): readonly string[] {
  const missing: string[] = []
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
    const parent = path.slice(0, at)
    const above = nodes.get(parent)
    if (above?.type === 'directory') break
    if (above !== undefined) refuseEntry(name, `${parent} above it is no folder`)
    missing.push(parent)
  }
  return missing
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

function twinCheck(twins: Twins): (path: string, name: ByteName) => void {
  const seen = new Map<string, string>()
  return (path, name) => {
    const form = path.normalize('NFC')
    const key = twins === 'unicode-and-case' ? form.toLowerCase() : form
    const other = seen.get(key)
    if (other !== undefined) {
      refuseEntry(name, `${other} differs from it only in case or Unicode form`)
    }
    seen.set(key, path)
  }
}
