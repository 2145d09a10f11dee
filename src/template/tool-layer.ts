import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { Digest } from '../domain/digest.ts'
import { hexOf } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { noXattrs, type TarEntry } from '../oci/tar-entry.ts'
import { readTar, type TarLimits } from '../oci/tar-reader.ts'
import { writeTar, type TarOutput } from '../oci/tar-writer.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { LockedTool } from './lock-file.ts'
import type { NpmTool } from './template-file.ts'

export type Entry =
  | { kind: 'directory'; path: string }
  | { kind: 'file'; path: string; executable: boolean; bytes: Uint8Array }
  | { kind: 'link'; path: string; to: string }

/** What is taken is held in memory, so `total` bounds that too; the largest tools have some 150 MB. */
const limits: TarLimits = {
  entries: 50_000,
  name: 1024,
  extension: 64 * 1024,
  total: 512 * 1024 ** 2,
}

/**
 * Stores a layer with what a template takes of one npm package. Its bytes follow from the package's
 * digest, the tool and the epoch (seconds; every entry's time). Throws `digest_mismatch` when the
 * stored package is not the locked one, `invalid_archive` when it is no plain npm package.
 */
export async function buildToolLayer(
  store: BlobStore,
  input: { tool: NpmTool; locked: LockedTool; epoch: number },
): Promise<{ digest: Digest; size: number }> {
  const entries = await readPackage(store, input)
  if (entries.length === 0) {
    throw new KilnError(
      'invalid_archive',
      `${input.locked.npm}@${input.locked.version} holds nothing of what the template takes`,
      { place: 'template.yaml' },
    )
  }
  return await writeToolLayer(store, entries, input.epoch)
}

/** Stores a layer with these entries and the folders above them, root's, each with the time `epoch`. */
export async function writeToolLayer(
  store: BlobStore,
  entries: readonly Entry[],
  epoch: number,
): Promise<{ digest: Digest; size: number }> {
  return await store.putBlob(writeTar(withParents(entries).map((entry) => outputOf(entry, epoch))))
}

async function readPackage(
  store: BlobStore,
  { locked, tool }: { locked: LockedTool; tool: NpmTool },
): Promise<Entry[]> {
  const content = await store.readBlob(locked.sha256)
  if (content === undefined) {
    throw new KilnError('input_unavailable', `${locked.npm}@${locked.version} is not in the store`)
  }
  const hash = createHash('sha256')
  async function* hashed(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      hash.update(chunk)
      yield chunk
    }
  }
  const entries = await takeEntries(hashed(content), tool).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && String(error.code).startsWith('Z_')))
      throw error
    throw new KilnError('invalid_archive', `${locked.npm}@${locked.version} is not gzipped`, {
      cause: error,
      place: `${locked.npm}@${locked.version}`,
    })
  })
  if (hash.digest('hex') !== hexOf(locked.sha256)) {
    throw new KilnError(
      'digest_mismatch',
      `${locked.npm}@${locked.version} in the store is not the content that its name promises`,
      { fix: 'kiln fsck' },
    )
  }
  return entries
}

async function takeEntries(gzipped: AsyncIterable<Uint8Array>, tool: NpmTool): Promise<Entry[]> {
  const gunzip = createGunzip()
  // Errors of either side end the other; the reader reports them.
  const feeding = pipeline(gzipped, gunzip).catch(() => undefined)
  const entries: Entry[] = []
  for await (const { body, entry } of readTar(gunzip, limits)) {
    const target = entry.type === 'file' ? targetOf(tool, entry.name) : null
    if (target === null) continue
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    const executable = (entry.mode & 0o111) !== 0 || tool.take.what === 'file'
    entries.push({ kind: 'file', path: target, executable, bytes: Buffer.concat(chunks) })
  }
  await feeding
  return [...entries, ...linksOf(tool)]
}

/** Where an archive's file goes in the image, or null when it is not taken. */
function targetOf({ npm, take }: NpmTool, name: string): string | null {
  const parts = name.split('/')
  if (parts.some((part) => part === '..' || part === '' || part === '.') || name.includes('\0')) {
    throw new KilnError('invalid_archive', `${npm} holds an entry outside its folder`, {
      place: `entry ${name}`,
    })
  }
  // An npm package is one folder, whose name does not matter.
  const path = parts.slice(1).join('/')
  if (take.what === 'file') return path === take.from ? take.to : null
  return path === '' ? null : posix.join(take.to, path)
}

function linksOf({ take }: NpmTool): Entry[] {
  if (take.what === 'file') return []
  return Object.entries(take.links).map(([path, target]) => ({
    kind: 'link',
    path,
    to: posix.relative(posix.dirname(path), posix.join(take.to, target)),
  }))
}

function withParents(entries: readonly Entry[]): Entry[] {
  const byPath = new Map(entries.map((entry) => [entry.path, entry]))
  for (const { path } of entries) {
    for (let parent = posix.dirname(path); parent !== '/'; parent = posix.dirname(parent)) {
      if (!byPath.has(parent)) byPath.set(parent, { kind: 'directory', path: parent })
    }
  }
  return [...byPath.values()].toSorted((a, b) =>
    Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)),
  )
}

function outputOf(entry: Entry, epoch: number): TarOutput {
  const name = entry.path.slice(1)
  const common: TarEntry = {
    type: 'file',
    name,
    linkname: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: epoch,
    device: { major: 0, minor: 0 },
    xattrs: noXattrs,
  }
  switch (entry.kind) {
    case 'directory':
      return { entry: { ...common, type: 'directory', name: `${name}/`, mode: 0o755 } }
    case 'link':
      return { entry: { ...common, type: 'symlink', linkname: entry.to, mode: 0o777 } }
    case 'file':
      return {
        entry: { ...common, mode: entry.executable ? 0o755 : 0o644, size: entry.bytes.length },
        body: [entry.bytes],
      }
  }
}
