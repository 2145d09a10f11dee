import { statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Report } from '../../cli/local-port.ts'
import { digestOfHex } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'
import type { BlobStore } from '../../store/blob-store.ts'
import { openFolderStore } from '../../store/folder-store.ts'
import { damagedObjects } from './check-backup.ts'
import { damaged, hashOf, type BackedUp } from './format.ts'
import { inParallel } from '../../store/in-parallel.ts'
import type { Snapshot } from './snapshot.ts'

export type CopyInput = { folder: string; store: BlobStore; report: Report }
type Copier = CopyInput & { to: BlobStore }

/** What a disk must have left beside the copy itself. */
const spareBytes = 64 * 1024 * 1024

/** Copies what is missing, a blob never twice; gives all objects with their digests, and those that were new. */
export async function copyAll(
  input: CopyInput,
  snapshot: Snapshot,
  before: readonly BackedUp[],
): Promise<{ objects: BackedUp[]; copied: BackedUp[] }> {
  const copier = { ...input, to: openFolderStore({ root: join(input.folder, 'store') }) }
  const missing: Snapshot = []
  const known = new Map(before.map((one) => [one.key, one]))
  await inParallel(snapshot, 16, async (one) => {
    const present = await copier.to.size(one.key)
    if (present === one.size) return
    missing.push(one)
    // Cut short where it lies: nothing that a backup ended with.
    if (present !== undefined && present !== known.get(one.key)?.size)
      await unlink(join(input.folder, 'store', one.key))
  })
  await demandSpace(input.folder, bytesOf(missing))
  input.report(
    `copying ${missing.length} of ${snapshot.length} objects, ${megabytes(bytesOf(missing))}`,
  )
  const fresh = new Set(missing.map(({ key }) => key))
  const objects: BackedUp[] = []
  const copied: BackedUp[] = []
  const tell = progress(input.report, bytesOf(missing))
  await inParallel(snapshot, 8, async ({ key, size }) => {
    const there = fresh.has(key) ? undefined : (sha256Of(key) ?? known.get(key)?.sha256)
    const sha256 = there ?? (await copyOne(copier, key))
    const one = { key, size, sha256 }
    objects.push(one)
    if (!fresh.has(key)) return
    copied.push(one)
    tell(size)
  })
  return { objects, copied }
}

/** The digest in a blob's name; undefined for other objects. */
function sha256Of(key: string): string | undefined {
  return /^blobs\/sha256\/([0-9a-f]{64})$/.exec(key)?.[1]
}

/** Copies one object, checked on the way when its name says what it must be; gives its SHA-256. */
async function copyOne({ store, to, folder }: Copier, key: string): Promise<string> {
  const hex = sha256Of(key)
  if (hex !== undefined) {
    const digest = digestOfHex(hex)
    const content = await store.readBlob(digest)
    if (content === undefined) throw gone(key)
    await to.putBlob(content, digest).catch((error: unknown) => {
      throw aboutIt(error, key)
    })
    return hex
  }
  const bytes = await store.get(key)
  if (bytes === undefined) throw gone(key)
  await to.put(key, bytes).catch((error: unknown) => {
    throw aboutIt(error, join(folder, 'store', key))
  })
  return hashOf(bytes)
}

function aboutIt(error: unknown, place: string): unknown {
  if (!(error instanceof KilnError) || error.code !== 'digest_mismatch') return error
  return new KilnError('digest_mismatch', `${place}: ${error.message}`, {
    place,
    cause: error,
    fix: 'kiln fsck says what else is damaged; restore the store from a backup',
  })
}

function gone(key: string): KilnError {
  return new KilnError('ledger_corrupt', `the store lost ${key} while it was copied`, {
    place: key,
    fix: 'if kiln gc ran meanwhile on another machine, run kiln backup again; otherwise find out what removes objects',
  })
}

/** Reads the copy again. What rotted there since an earlier backup is copied anew, once. */
export async function mend(
  input: CopyInput,
  objects: readonly BackedUp[],
  before: readonly BackedUp[],
): Promise<void> {
  const { folder, report } = input
  const bad = await damagedObjects(folder, objects)
  if (bad.length === 0) return
  const known = new Map(before.map((one) => [one.key, one.sha256]))
  const to = openFolderStore({ root: join(folder, 'store') })
  for (const { key, sha256 } of bad) {
    const path = join(folder, 'store', key)
    // Then it is the store that differs from what it held before: the copy is the better one.
    if (sha256 !== null && sha256 === known.get(key))
      throw damaged(path, 'the store differs from it')
    report(`the copy of ${key} was damaged: copying it again`)
    await unlink(path).catch(() => undefined)
    await copyOne({ ...input, to }, key)
  }
  const [still] = await damagedObjects(folder, objects)
  if (still !== undefined) throw damaged(join(folder, 'store', still.key), still.what)
}

/** Throws `store_unavailable` before anything is copied when the copy would not fit. */
export async function demandSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  if (free >= bytes + spareBytes) return
  throw new KilnError(
    'store_unavailable',
    `${megabytes(bytes)} are to be copied, and ${megabytes(free)} are free`,
    {
      place: folder,
      fix: `free ${megabytes(bytes + spareBytes - free)}, or take a larger disk`,
    },
  )
}

/** One line for each tenth. */
export function progress(report: Report, total: number): (bytes: number) => void {
  let done = 0
  let said = 0
  return (bytes) => {
    done += bytes
    const tenth = total === 0 ? 10 : Math.floor((done * 10) / total)
    if (tenth <= said || tenth >= 10) return
    said = tenth
    report(`  ${tenth * 10} % of ${megabytes(total)}`)
  }
}

export function bytesOf(objects: readonly { size: number }[]): number {
  return objects.reduce((sum, { size }) => sum + size, 0)
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
