import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { KilnError } from '../domain/error.ts'
import { pack, type Pack } from 'tar-stream'
import { decodeName } from './entry-name.ts'
import type { SourceNode } from './source-node.ts'
import type { Twins } from './source-tree.ts'
import { readSourceTree } from './source-tree.ts'
import type { Spool } from './spool.ts'
import { openSpool } from './spool.ts'
import type { TarItem } from './tar-entry.ts'
import type { TarLimits } from './tar-reader.ts'
import { readTar } from './tar-reader.ts'

/** What tar-stream is told of an entry. */
type Header = Parameters<Pack['entry']>[0]

export type RepackOptions = {
  /** Seconds since 1970 that every entry gets: the commit's time. */
  mtime: number
  /** A folder for a file without a name that holds the content meanwhile. */
  spoolFolder: string
  /** `unicode-and-case` for source trees; npm packages may hold names that differ in case. */
  twins?: Twins
  limits?: TarLimits
  /** Files for which it says false are left out. */
  keep?: (path: string) => boolean
}

/**
 * A source tar (from `git archive`, a person, npm) as Kiln's canonical one: the same tree always gives
 * the same bytes. Sorted by bytes, every folder named, git's modes only (0644, 0755), owner 0, one time.
 * Nothing is given out before all of it was read and found good; what is refused, and how, see
 * `readSourceTree`. Names that differ only in Unicode form or in case are refused, because another file
 * system would keep only one of them, and so a reviewer may have seen the other.
 */
export async function* repackTar(
  source: AsyncIterable<Uint8Array>,
  options: RepackOptions,
): AsyncGenerator<Uint8Array> {
  const spool = await openSpool(options.spoolFolder)
  try {
    const tree = await readSourceTree(source, {
      spool,
      twins: options.twins ?? 'unicode-and-case',
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    })
    const kept = [...tree].filter(([path]) => options.keep?.(path) ?? true)
    yield* packed((tar) => packTree(tar, { nodes: kept, spool, mtime: options.mtime }))
  } finally {
    await spool.close()
  }
}

async function packTree(
  tar: Pack,
  { nodes, spool, mtime }: { nodes: [string, SourceNode][]; spool: Spool; mtime: number },
): Promise<void> {
  const sorted = nodes.toSorted(([left], [right]) => Buffer.compare(bytes(left), bytes(right)))
  for (const [path, node] of sorted) {
    const content = node.type === 'file' ? spool.read(node.content) : undefined
    await addEntry(tar, headersOf(path, node, mtime), content)
  }
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'utf8')
}

/** tar-stream writes later times wrongly without a word. */
const latest = 2 ** 31 - 1

function timeOf(mtime: number): Date {
  if (Number.isInteger(mtime) && mtime >= 0 && mtime <= latest) return new Date(mtime * 1000)
  throw new KilnError('invalid_archive', `a commit dated ${mtime} s since 1970 cannot be packed`, {
    fix: 'commit again with a date between 1970 and 2038',
  })
}

function headersOf(name: string, node: SourceNode, mtime: number): Header {
  const common = { name, uid: 0, gid: 0, mtime: timeOf(mtime) }
  switch (node.type) {
    case 'directory':
      return { ...common, type: 'directory', mode: 0o755 }
    case 'symlink':
      return { ...common, type: 'symlink', mode: 0o777, linkname: node.target }
    case 'file':
      return {
        ...common,
        type: 'file',
        mode: node.executable ? 0o755 : 0o644,
        size: node.content.size,
      }
  }
}

/** Parts of a build context; each tar is one that `repackTar` made. */
export type ContextParts = {
  dockerfile: string
  app: AsyncIterable<Uint8Array>
  dependencies: AsyncIterable<Uint8Array> | null
  files: AsyncIterable<Uint8Array> | null
  /** Seconds since 1970: the commit's time. */
  mtime: number
}

/** The context that the engine is sent: `Dockerfile`, `app/`, `deps/`, `files/`; the last two may be empty. */
export function packContext(parts: ContextParts): Readable {
  return Readable.from(
    packed((tar) => packParts(tar, parts)),
    { objectMode: false },
  )
}

async function packParts(tar: Pack, parts: ContextParts): Promise<void> {
  const dockerfile = bytes(parts.dockerfile)
  const mtime = timeOf(parts.mtime)
  const owned = { uid: 0, gid: 0, mtime }
  await addEntry(
    tar,
    { ...owned, name: 'Dockerfile', type: 'file', mode: 0o644, size: dockerfile.length },
    [dockerfile],
  )
  for (const [folder, content] of [
    ['app', parts.app],
    ['deps', parts.dependencies],
    ['files', parts.files],
  ] as const) {
    await addEntry(tar, { ...owned, name: folder, type: 'directory', mode: 0o755 })
    if (content === null) continue
    for await (const item of readTar(content)) {
      await addEntry(tar, { ...owned, ...belowFolder(folder, item) }, item.body)
    }
  }
}

function belowFolder(folder: string, { entry }: TarItem): Header {
  const name = decodeName(entry.name)
  const linkname = decodeName(entry.linkname)
  const { type, mode, size } = entry
  if (name === undefined || linkname === undefined || !isPlain(type)) {
    throw new Error(`${folder}/ is no tar that Kiln packed`)
  }
  return { name: `${folder}/${name.replace(/\/$/, '')}`, type, mode, size, linkname }
}

function isPlain(type: string): type is 'file' | 'directory' | 'symlink' {
  return type === 'file' || type === 'directory' || type === 'symlink'
}

/** Runs `fill` on a new tar and gives out its bytes as they come; a failure of either ends both. */
async function* packed(fill: (tar: Pack) => Promise<void>): AsyncGenerator<Uint8Array> {
  const tar = pack()
  const filled = fill(tar).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  try {
    yield* tar as AsyncIterable<Uint8Array>
  } finally {
    tar.destroy()
    await filled
  }
}

async function addEntry(
  tar: Pack,
  headers: Header,
  content?: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const isFolder = headers.type === 'directory'
  const header = { ...headers, name: isFolder ? `${headers.name}/` : headers.name }
  await new Promise<void>((resolve, reject) => {
    const sink = tar.entry(header, (error) => (error ? reject(error) : resolve()))
    if (headers.type !== 'file') return
    pipeline(content ?? [], sink).catch(reject)
  })
}
