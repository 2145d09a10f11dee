import { z } from 'zod'
import { isDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { byBytes } from './changes.ts'
import { escapeName, unescapeName } from './entry-name.ts'
import type { Tree, TreeNode } from './tree.ts'

/**
 * One path of a root file system, as text. Paths and targets are in `escapeName`'s form.
 * `mode` is octal, `owner` is `uid:gid`, xattrs are base64. A hard link carries all of its file's facts,
 * and in `link` the first path, by bytes, that shares them.
 */
const fileRecord = z.strictObject({
  path: z.string(),
  type: z.enum(['file', 'directory', 'symlink', 'character', 'block', 'fifo']),
  mode: z.string().regex(/^[0-7]{4}$/),
  owner: z.string().regex(/^\d+:\d+$/),
  size: z.int().min(0).optional(),
  digest: z.string().refine(isDigest).optional(),
  target: z.string().optional(),
  device: z
    .string()
    .regex(/^\d+:\d+$/)
    .optional(),
  link: z.string().optional(),
  xattrs: z.record(z.string(), z.string()).optional(),
  mtime: z.int().optional(),
})

export type FileRecord = z.infer<typeof fileRecord>

const header = { format: 'kiln.files', version: 1 } as const

/**
 * The per-file manifest of a root file system: JSON lines, the first names the format, the rest are
 * FileRecords ordered by the bytes of their paths. Times are left out of what is published.
 */
export function writeFilesManifest(tree: Tree, options: { times: boolean }): string {
  const firsts = new Map<TreeNode, string>()
  const lines = [JSON.stringify(header)]
  for (const [path, node] of [...tree].toSorted(([left], [right]) => byBytes(left, right))) {
    const name = escapeName(path)
    const first = node.type === 'directory' ? undefined : firsts.get(node)
    if (first === undefined) firsts.set(node, name)
    lines.push(
      JSON.stringify({
        ...recordOf(name, node),
        ...(first === undefined ? {} : { link: first }),
        ...(options.times ? { mtime: node.mtime } : {}),
      }),
    )
  }
  return `${lines.join('\n')}\n`
}

function recordOf(path: string, node: TreeNode): FileRecord {
  const common = {
    path,
    type: node.type,
    mode: node.mode.toString(8).padStart(4, '0'),
    owner: `${node.uid}:${node.gid}`,
    ...(node.xattrs.size === 0 ? {} : { xattrs: xattrsOf(node) }),
  }
  switch (node.type) {
    case 'file':
      return { ...common, size: node.size, digest: node.digest }
    case 'symlink':
      return { ...common, target: escapeName(node.target) }
    case 'character':
    case 'block':
      return { ...common, device: `${node.device.major}:${node.device.minor}` }
    case 'directory':
    case 'fifo':
      return common
  }
}

function xattrsOf({ xattrs }: TreeNode): Record<string, string> {
  const sorted = [...xattrs].toSorted(([left], [right]) => byBytes(left, right))
  return Object.fromEntries(
    sorted.map(([key, value]) => [
      escapeName(key),
      Buffer.from(value, 'latin1').toString('base64'),
    ]),
  )
}

/** Throws `invalid_image` for text that is no per-file manifest of this version. */
export function parseFilesManifest(text: string): readonly FileRecord[] {
  const [first = '', ...lines] = text.split('\n')
  if (first !== JSON.stringify(header) || lines.pop() !== '') {
    throw new KilnError('invalid_image', 'not a per-file manifest of version 1')
  }
  try {
    return lines.map((line) => fileRecord.parse(JSON.parse(line)))
  } catch (cause) {
    throw new KilnError('invalid_image', 'a per-file manifest with a broken line', { cause })
  }
}

/** The tree that a manifest with times describes; its content is elsewhere. */
export function treeOfRecords(records: readonly FileRecord[]): Tree {
  const tree = new Map<string, TreeNode>()
  for (const record of records) {
    const first = record.link === undefined ? undefined : tree.get(unescapeName(record.link))
    tree.set(unescapeName(record.path), first ?? nodeOfRecord(record))
  }
  return tree
}

function nodeOfRecord(record: FileRecord): TreeNode {
  const [uid = 0, gid = 0] = pairOf(record.owner)
  const attributes = {
    mode: parseInt(record.mode, 8),
    uid,
    gid,
    mtime: record.mtime ?? 0,
    xattrs: new Map(
      Object.entries(record.xattrs ?? {}).map(([key, value]) => [
        unescapeName(key),
        Buffer.from(value, 'base64').toString('latin1'),
      ]),
    ),
  }
  switch (record.type) {
    case 'file':
      if (record.digest === undefined || record.size === undefined) break
      return {
        ...attributes,
        type: 'file',
        size: record.size,
        digest: record.digest,
        content: null,
      }
    case 'symlink':
      return { ...attributes, type: 'symlink', target: unescapeName(record.target ?? '') }
    case 'character':
    case 'block': {
      const [major = 0, minor = 0] = pairOf(record.device ?? '')
      return { ...attributes, type: record.type, device: { major, minor } }
    }
    case 'directory':
    case 'fifo':
      return { ...attributes, type: record.type }
  }
  throw new KilnError('invalid_image', 'a file without a digest', { place: record.path })
}

function pairOf(text: string): number[] {
  return text.split(':').map(Number)
}
