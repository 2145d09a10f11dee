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
 * The bytes of the canonical layer: the planned entries, all of one `time` (the commit's, seconds since
 * 1970), numeric owners. An engine's cache gives back what an earlier commit's build wrote, so no time
 * that a build wrote may count. The same plan always gives the same bytes.
 */
export function writeCanonicalLayer(
  entries: readonly LayerEntry[],
  { spool, time }: { spool: Spool; time: number },
): AsyncGenerator<Uint8Array> {
  return writeTar(outputsOf(entries, { spool, time }))
}

function* outputsOf(
  entries: readonly LayerEntry[],
  { spool, time }: { spool: Spool; time: number },
): Generator<TarOutput> {
  for (const entry of entries) {
    const header = headerOf(entry, time)
    if (entry.kind === 'node' && entry.node.type === 'file') {
      const { content } = entry.node
      if (content === null) throw invalidImage(entry.name, 'a hard link whose content is not in it')
      yield { entry: header, body: spool.read(content) }
    } else yield { entry: header }
  }
}

function headerOf(entry: LayerEntry, time: number): TarEntry {
  if (entry.kind === 'whiteout') {
    return {
      type: 'file',
      name: entry.name,
      linkname: '',
      mode: 0,
      uid: 0,
      gid: 0,
      size: 0,
      mtime: time,
      device: noDevice,
      xattrs: noXattrs,
    }
  }
  const { name, node } = entry
  const { mode, uid, gid, xattrs } = node
  const common = { mode, uid, gid, mtime: time }
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
