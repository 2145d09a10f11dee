import { join } from 'node:path'
import { checkTrustRoot, type TrustRoot } from '../../../signing/trust.ts'
import { KilnError } from '../../domain/error.ts'
import { fsck } from '../../ledger/fsck.ts'
import { blobKey, type BlobStore, type HeadStore } from '../../store/blob-store.ts'
import { openFolderStore } from '../../store/folder-store.ts'
import {
  damaged,
  decodeObjects,
  hashFile,
  readNamed,
  type BackedUp,
  type BackupRecord,
} from './format.ts'
import { inParallel } from '../../store/in-parallel.ts'

/** A backup whose every byte was read and found right. */
export type Checked = {
  record: BackupRecord
  objects: readonly BackedUp[]
  trust: TrustRoot
  /** The objects that the backup names, and no others that lie in its folder. */
  store: BlobStore
  head: Pick<HeadStore, 'read'>
}

const shown = 20

/**
 * Reads the whole backup: every file against its digest, then the log from its entries up, as `kiln fsck`
 * does. Throws `digest_mismatch` that names each damaged file, `ledger_corrupt` when the log is not whole.
 */
export async function checkBackup(folder: string, record: BackupRecord): Promise<Checked> {
  const place = join(folder, record.objects.path)
  const objects = decodeObjects((await readNamed(folder, record.objects)).toString('utf8'), place)
  if (objects.length !== record.objects.count) throw damaged(place, 'it lists another number')
  const trust = trustIn(await readNamed(folder, record.trust))
  for (const file of [record.keys, record.addresses, record.settings])
    if (file !== null) await readNamed(folder, file)
  const bad = await damagedObjects(folder, objects)
  if (bad.length > 0) {
    const files = bad.map(({ key, what }) => `${join(folder, 'store', key)}: ${what}`)
    throw damaged(files[0] ?? folder, count(bad.length, 'file'), files.slice(0, shown))
  }
  const store = only(openFolderStore({ root: join(folder, 'store'), readOnly: true }), objects)
  const head = headOf(record)
  await demandWholeLog({ store, head, trust })
  return { record, objects, trust, store, head }
}

function trustIn(bytes: Uint8Array): TrustRoot {
  return checkTrustRoot(JSON.parse(new TextDecoder().decode(bytes)))
}

/** The head as the backup read it: an object store's head, without the swapping. */
export function headOf({ checkpoint }: Pick<BackupRecord, 'checkpoint'>): Pick<HeadStore, 'read'> {
  const { size, note } = checkpoint
  return {
    read: async () =>
      size === 0 ? undefined : { bytes: Buffer.from(note), version: String(size) },
  }
}

export async function damagedObjects(
  folder: string,
  objects: readonly BackedUp[],
): Promise<{ key: string; what: string; sha256: string | null }[]> {
  const bad: { key: string; what: string; sha256: string | null }[] = []
  await inParallel(objects, 4, async ({ key, sha256 }) => {
    const found = await hashFile(join(folder, 'store', key))
    if (found === undefined) bad.push({ key, what: 'missing', sha256: null })
    else if (found.sha256 !== sha256)
      bad.push({ key, what: 'other bytes than were copied', sha256: found.sha256 })
  })
  return bad.toSorted((a, b) => (a.key < b.key ? -1 : 1))
}

/** Derives the log again from the copy. Throws `ledger_corrupt` with what does not fit. */
export async function demandWholeLog(input: {
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  trust: TrustRoot
}): Promise<void> {
  const { problems } = await fsck(input)
  const [first] = problems
  if (first === undefined) return
  throw new KilnError('ledger_corrupt', `the log in the copy: ${count(problems.length, 'fault')}`, {
    place: first.place,
    fix: 'kiln fsck says whether the store itself is damaged; restore from another backup',
    lines: problems.slice(0, shown).map(({ place, message }) => `${place}: ${message}`),
  })
}

/** A store as if nothing but these objects were in it: a folder may hold more, of a backup that was interrupted. */
export function only(store: BlobStore, objects: readonly BackedUp[]): BlobStore {
  const keys = new Set(objects.map(({ key }) => key))
  return {
    ...store,
    get: async (key) => (keys.has(key) ? store.get(key) : undefined),
    size: async (key) => (keys.has(key) ? store.size(key) : undefined),
    readBlob: async (digest, range) =>
      keys.has(blobKey(digest)) ? store.readBlob(digest, range) : undefined,
    async *list(prefix) {
      for (const key of keys) if (key.startsWith(prefix)) yield key
    },
  }
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
