import { mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { verifyCheckpoint } from '../../../signing/checkpoint.ts'
import { toBase64 } from '../../../signing/base64.ts'
import { emptyRoot } from '../../../signing/merkle.ts'
import { rolesFile } from '../../../signing/key-folder.ts'
import { demandKeysOf, type KeyFile } from '../../../signing/keys.ts'
import { publicKeyOf } from '../../../signing/public-key.ts'
import { derOf, type TrustRoot } from '../../../signing/trust.ts'
import type { BackupReport, Report } from '../../cli/local-port.ts'
import { KilnError } from '../../domain/error.ts'
import { openLogView } from '../../ledger/log-view.ts'
import type { BlobStore, HeadStore } from '../../store/blob-store.ts'
import { lockFolder } from '../../store/folder-lock.ts'
import { openFolderStore } from '../../store/folder-store.ts'
import { replaceFile } from '../../store/replace-file.ts'
import { demandWholeLog, headOf, only } from './check-backup.ts'
import { bytesOf, copyAll, mend } from './copy.ts'
import {
  decodeObjects,
  encodeObjects,
  hashOf,
  readNamed,
  readRecord,
  recordFile,
  type BackedUp,
  type BackupRecord,
  type NamedFile,
} from './format.ts'
import { sealKeys } from './sealed-keys.ts'
import { encodeSettings, type Settings } from './settings.ts'
import { snapshotOf } from './snapshot.ts'

export type BackupInput = {
  folder: string
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  trust: TrustRoot
  /** Null: without the keys. `scryptN`: what a guess at the passphrase costs, for tests; Kiln's own without it. */
  keys: { folder: string; passphrase: string; scryptN?: number } | null
  addresses: readonly { environment: string; port: number }[]
  settings: Settings
  /** Version of this Kiln. */
  kiln: string
  now: () => Date
  report: Report
}

/**
 * Copies all that is needed to serve again. The head is read first and what it needs after it, so the
 * copy is the log as it was at that moment, whatever Kiln does meanwhile; objects are written once, so
 * none can change. backup.json is written last, after the copy was read again and its log derived anew:
 * an interrupted backup leaves the one before it, and the next goes on where it ended.
 */
export async function makeBackup(input: BackupInput): Promise<BackupReport> {
  const { folder, head, report } = input
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const lock = await lockFolder(join(folder, 'store'))
  try {
    const before = await previous(folder)
    if (before !== null) await demandContinues(input, before.record)
    const checkpoint = checkpointOf(input.trust, (await head.read())?.bytes)
    report(`the log has ${checkpoint.size} entries`)
    const snapshot = await snapshotOf(input.store, checkpoint.size)
    const { objects, copied } = await copyAll(input, snapshot, before?.objects ?? [])
    report('reading the copy again')
    const keys = await keysOf(input)
    const named = async (name: string, content: string) => writeNamed(folder, name, content)
    const record: BackupRecord = {
      version: 2,
      kind: 'kiln-backup',
      kiln: input.kiln,
      madeAt: input.now().toISOString(),
      origin: input.trust.origin,
      checkpoint,
      objects: {
        ...(await named('objects.txt', encodeObjects(objects))),
        count: objects.length,
        bytes: bytesOf(objects),
      },
      trust: await named('trust.json', `${JSON.stringify(input.trust, null, 2)}\n`),
      keys: keys === null ? null : await named('keys.json', keys),
      addresses: await named(
        'addresses.json',
        `${JSON.stringify({ version: 1, ports: input.addresses })}\n`,
      ),
      settings: await named('settings.json', encodeSettings(input.settings)),
    }
    await mend(input, objects, before?.objects ?? [])
    const copy = openFolderStore({ root: join(folder, 'store'), readOnly: true })
    await demandWholeLog({
      store: only(copy, objects),
      head: headOf(record),
      trust: input.trust,
    })
    await replaceFile(join(folder, recordFile), `${JSON.stringify(record, null, 2)}\n`)
    await removeUnnamed(folder, record)
    return {
      folder,
      entries: checkpoint.size,
      objects: objects.length,
      bytes: record.objects.bytes,
      copied: copied.length,
      copiedBytes: bytesOf(copied),
      keys: keys === null ? 'left out' : 'encrypted',
    }
  } finally {
    lock.release()
  }
}

type Previous = { record: BackupRecord; objects: readonly BackedUp[] }

/** The backup that the folder holds already; null before the first one was ended. */
async function previous(folder: string): Promise<Previous | null> {
  try {
    const record = await readRecord(folder)
    const list = await readNamed(folder, record.objects)
    const place = join(folder, record.objects.path)
    return { record, objects: decodeObjects(list.toString('utf8'), place) }
  } catch (error) {
    if (error instanceof KilnError && error.code === 'not_found') return null
    throw error
  }
}

/** Throws `ledger_forked` when the folder holds a backup of another log, or of a longer one. */
async function demandContinues(
  { store, head, trust, folder }: BackupInput,
  { checkpoint, origin }: BackupRecord,
): Promise<void> {
  if (checkpoint.size === 0 && origin === trust.origin) return
  try {
    await openLogView({ store, head, trust, seen: checkpoint.note }).refresh()
  } catch (error) {
    if (!(error instanceof KilnError) || error.retryable) throw error
    throw new KilnError(
      'ledger_forked',
      `the log does not continue the one in this backup, which has ${checkpoint.size} entries: ${error.message}`,
      {
        place: join(folder, recordFile),
        cause: error,
        fix: 'back up into another folder, and find out whether the store was replaced by an older one: kiln fsck',
      },
    )
  }
}

function checkpointOf(trust: TrustRoot, bytes: Uint8Array | undefined): BackupRecord['checkpoint'] {
  if (bytes === undefined) return { size: 0, root: toBase64(emptyRoot()), note: '' }
  const note = Buffer.from(bytes).toString('utf8')
  const log = { origin: trust.origin, publicKey: publicKeyOf(derOf(trust.logKey)) }
  const { size, root } = verifyCheckpoint(note, log)
  return { size, root: toBase64(root), note }
}

async function keysOf({ keys, trust }: BackupInput): Promise<string | null> {
  if (keys === null) return null
  const { folder, passphrase, scryptN } = keys
  const names = (await readdir(folder))
    .filter((name) => name.endsWith('.pem') || name === rolesFile)
    .toSorted()
  const files = await Promise.all(
    names.map(async (name): Promise<KeyFile> => ({
      name,
      content: await readFile(join(folder, name), 'utf8'),
    })),
  )
  // A key that was followed while this ran, or is lost, would not open again.
  demandKeysOf(trust, files)
  return sealKeys(files, { origin: trust.origin, passphrase, scryptN })
}

/** `<name>-<sha256>.<ending>`: what an earlier backup.json names is never written over. */
async function writeNamed(folder: string, name: string, content: string): Promise<NamedFile> {
  const sha256 = hashOf(Buffer.from(content))
  const [stem = '', ending = ''] = name.split('.')
  const path = `${stem}-${sha256}.${ending}`
  await replaceFile(join(folder, path), content)
  return { path, sha256 }
}

/** Files that the record before this one named; objects stay, they may be needed again. */
async function removeUnnamed(folder: string, record: BackupRecord): Promise<void> {
  const { objects, trust, keys, addresses, settings } = record
  const named = [objects, trust, keys, addresses, settings]
  const kept = new Set(named.map((file) => file?.path))
  const old = (await readdir(folder)).filter(
    (name) => /^[a-z]+-[0-9a-f]{64}\.(json|txt)$/.test(name) && !kept.has(name),
  )
  await Promise.all(old.map((name) => rm(join(folder, name), { force: true })))
}
