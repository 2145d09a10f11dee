import { KilnError } from '../domain/error.ts'
import { placeOf, type ByteName } from '../oci/entry-name.ts'
import { noXattrs, type TarEntry } from '../oci/tar-entry.ts'
import { writeTar, type TarOutput } from '../oci/tar-writer.ts'
import type { Git } from './git.ts'

/** A file or symlink of a commit's tree. */
export type TreeEntry = {
  path: ByteName
  kind: 'file' | 'executable' | 'symlink'
  object: string
  size: number
}

export type TreeLimits = { entries: number; totalBytes: number; pathBytes: number }

const defaultTreeLimits: TreeLimits = {
  entries: 100_000,
  totalBytes: 1024 ** 3,
  pathBytes: 1000,
}

type At = { git: Git; folder: string; signal: AbortSignal }

/**
 * Reads a commit's tree; submodules and what is over the limits throw `invalid_repository`. git's answer is
 * judged as it comes, since a few trees that name each other stand for more files than any memory holds.
 */
export async function readTree(
  { git, folder, signal }: At,
  commit: string,
  limits: TreeLimits = defaultTreeLimits,
): Promise<readonly TreeEntry[]> {
  const args = ['ls-tree', '-r', '-z', '-l', '--full-tree', '--end-of-options', commit]
  const entries: TreeEntry[] = []
  let total = 0
  const tooLarge = (found: string) =>
    new KilnError('invalid_repository', `the commit has ${found}, which is not read`, {
      place: `commit ${commit}`,
    })
  const longest = limits.pathBytes + longestFacts
  for await (const line of linesOf(git.stream(args, { folder, signal }), longest)) {
    const path = `a path of more than ${limits.pathBytes} bytes`
    if (line.length > longest) throw tooLarge(path)
    const entry = parseLine(line)
    total += entry.size
    if (entry.path.length > limits.pathBytes) throw tooLarge(path)
    if (entry.kind === 'symlink' && entry.size > longestTarget) {
      throw new KilnError('invalid_repository', `a link's target has ${entry.size} bytes`, {
        place: placeOf(entry.path),
      })
    }
    if (total > limits.totalBytes) throw tooLarge(`more than ${limits.totalBytes} bytes`)
    if (entries.push(entry) > limits.entries) throw tooLarge(`more than ${limits.entries} files`)
  }
  return entries
}

/** What the kernel takes for a path. */
const longestTarget = 4096

/** Mode, type, object and size before a path, with room to spare. */
const longestFacts = 200

/** Lines that end with NUL; one that goes on beyond `longest` is given as far as it came, and is the last. */
async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  longest: number,
): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + Buffer.from(chunk).toString('latin1')).split('\0')
    rest = lines.pop() ?? ''
    yield* lines
    if (rest.length > longest) return yield rest
  }
  if (rest !== '') throw new KilnError('internal', 'git ended too early')
}

const lineForm = /^([0-7]{6}) (\w+) ([0-9a-f]{40}) +(\d+|-)\t([^]+)$/
const kinds: Readonly<Record<string, TreeEntry['kind']>> = {
  '100644': 'file',
  '100664': 'file',
  '100755': 'executable',
  '120000': 'symlink',
}

function parseLine(line: string): TreeEntry {
  const [, mode = '', type = '', object = '', size = '', path = ''] = lineForm.exec(line) ?? []
  const kind = kinds[mode]
  if (type === 'commit') {
    throw new KilnError('invalid_repository', 'submodules are not supported', {
      place: placeOf(path),
      fix: 'commit the files themselves, or depend on the package',
    })
  }
  if (kind === undefined || type !== 'blob' || size === '-') {
    throw new KilnError('invalid_repository', `git has an entry of mode ${mode || 'unknown'}`, {
      place: placeOf(path),
    })
  }
  return { path, kind, object, size: Number(size) }
}

/**
 * The tree as a tar: git's modes, owner 0, every time `mtime` (seconds). It is made from the objects
 * themselves and not by `git archive`, whose output attributes in the repository can change.
 */
export async function* exportTree(
  at: At,
  entries: readonly TreeEntry[],
  mtime: number,
): AsyncIterable<Uint8Array> {
  yield* writeTar(outputs(at, entries, mtime))
}

async function* outputs(
  { git, folder, signal }: At,
  entries: readonly TreeEntry[],
  mtime: number,
): AsyncIterable<TarOutput> {
  const input = entries.map(({ object }) => `${object}\n`).join('')
  const stream = git.stream(['cat-file', '--batch', '--buffer'], { folder, signal, input })
  const reader = bytesOf(stream)
  try {
    for (const entry of entries) {
      const header = await reader.line()
      if (header !== `${entry.object} blob ${entry.size}`) {
        throw new KilnError('internal', `git answered ${header}`, { place: placeOf(entry.path) })
      }
      if (entry.kind === 'symlink') {
        const target = Buffer.concat(await collect(reader.take(entry.size))).toString('latin1')
        yield { entry: tarEntry(entry, { mtime, target }) }
      } else {
        yield { entry: tarEntry(entry, { mtime, target: '' }), body: reader.take(entry.size) }
      }
      if ((await reader.line()) !== '') throw new KilnError('internal', 'git broke its own format')
    }
  } finally {
    await reader.close()
  }
}

function tarEntry(
  entry: TreeEntry,
  { mtime, target }: { mtime: number; target: string },
): TarEntry {
  const link = entry.kind === 'symlink'
  return {
    type: link ? 'symlink' : 'file',
    name: entry.path,
    linkname: target,
    mode: link ? 0o777 : entry.kind === 'executable' ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    size: link ? 0 : entry.size,
    mtime,
    device: { major: 0, minor: 0 },
    xattrs: noXattrs,
  }
}

/** One object's content, for small files. */
export async function readObject(at: At, entry: TreeEntry): Promise<Buffer> {
  const { git, folder, signal } = at
  return Buffer.concat(
    await collect(git.stream(['cat-file', 'blob', entry.object], { folder, signal })),
  )
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const found: Uint8Array[] = []
  for await (const chunk of chunks) found.push(chunk)
  return found
}

/** Reads lines and counted stretches from a stream, in order; each stretch is read to its end. */
function bytesOf(stream: AsyncIterable<Uint8Array>) {
  const iterator = stream[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  async function more(): Promise<void> {
    const next = await iterator.next()
    if (next.done === true) throw new KilnError('internal', 'git ended too early')
    rest = rest.length === 0 ? Buffer.from(next.value) : Buffer.concat([rest, next.value])
  }
  return {
    async line(): Promise<string> {
      while (!rest.includes(10)) await more()
      const end = rest.indexOf(10)
      const line = rest.toString('latin1', 0, end)
      rest = rest.subarray(end + 1)
      return line
    },
    async *take(size: number): AsyncIterable<Uint8Array> {
      let left = size
      while (left > 0) {
        if (rest.length === 0) await more()
        const part = rest.subarray(0, left)
        rest = rest.subarray(part.length)
        left -= part.length
        yield part
      }
    },
    async close(): Promise<void> {
      await iterator.return?.()
    },
  }
}
