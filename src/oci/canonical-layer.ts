import type { LayerEntry } from './changes.ts'
import type { Spool } from './spool.ts'
import type { TarEntry } from './tar-entry.ts'
import { noXattrs } from './tar-entry.ts'
import type { TarOutput } from './tar-writer.ts'
import { writeTar } from './tar-writer.ts'
import type { TreeNode } from './tree.ts'
import { invalidImage } from './tree.ts'

const noDevice = { major: 0, minor: 0 }

/**
 * The bytes of the canonical layer: the planned entries, times cut to `latest` (the commit's, seconds
 * since 1970), numeric owners. The same plan always gives the same bytes.
 */
export function writeCanonicalLayer(
  entries: readonly LayerEntry[],
  { spool, latest }: { spool: Spool; latest: number },
): AsyncGenerator<Uint8Array> {
  return writeTar(outputsOf(entries, { spool, latest }))
}

function* outputsOf(
  entries: readonly LayerEntry[],
  { spool, latest }: { spool: Spool; latest: number },
): Generator<TarOutput> {
  for (const entry of entries) {
    const header = headerOf(entry, latest)
    if (entry.kind === 'node' && entry.node.type === 'file') {
      const { content } = entry.node
      if (content === null) throw invalidImage(entry.name, 'a hard link whose content is not in it')
      yield { entry: header, body: spool.read(content) }
    } else yield { entry: header }
  }
}

function headerOf(entry: LayerEntry, latest: number): TarEntry {
  if (entry.kind === 'whiteout') {
    return {
      type: 'file',
      name: entry.name,
      linkname: '',
      mode: 0,
      uid: 0,
      gid: 0,
      size: 0,
      mtime: latest,
      device: noDevice,
      xattrs: noXattrs,
    }
  }
  const { name, node } = entry
  const { mode, uid, gid, xattrs } = node
  const common = { mode, uid, gid, mtime: Math.min(node.mtime, latest) }
  if (entry.kind === 'link') {
    const shared = { size: 0, device: noDevice, xattrs: noXattrs }
    return { ...common, ...shared, name, type: 'link', linkname: entry.to }
  }
  return { ...common, ...ownOf(node), name: node.type === 'directory' ? `${name}/` : name, xattrs }
}

function ownOf(node: TreeNode): Pick<TarEntry, 'type' | 'linkname' | 'size' | 'device'> {
  const { type } = node
  return {
    type,
    linkname: node.type === 'symlink' ? node.target : '',
    size: node.type === 'file' ? node.size : 0,
    device: node.type === 'character' || node.type === 'block' ? node.device : noDevice,
  }
}
