import { mkdir, readFile, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { verifyCheckpoint } from '../../../signing/checkpoint.ts'
import { toBase64 } from '../../../signing/base64.ts'
import { demandKeysOf, placeKeys, type KeyFile } from '../../../signing/keys.ts'
import { publicKeyOf } from '../../../signing/public-key.ts'
import { writeTrust } from '../../../signing/trust-files.ts'
import { derOf } from '../../../signing/trust.ts'
import type { Report } from '../../cli/local-port.ts'
import { digestOfHex } from '../../domain/digest.ts'
import { KilnError } from '../../domain/error.ts'
import { parseEnvironmentName } from '../../domain/name.ts'
import { emptyState, withPort, type EdgeState } from '../../edge/state.ts'
import { openLogView } from '../../ledger/log-view.ts'
import { errnoOf } from '../../store/disk-error.ts'
import { replaceFile } from '../../store/replace-file.ts'
import { edgePathsOf } from '../edge-paths.ts'
import type { ObjectStore } from '../object-store.ts'
import type { Paths } from '../paths.ts'
import { bytesOf, demandSpace, megabytes, progress } from './copy.ts'
import { checkBackup, type Checked } from './check-backup.ts'
import { hashOf, readNamed, readRecord, recordFile, type BackupRecord } from './format.ts'
import { openSealedKeys } from './sealed-keys.ts'
import { placeSettings, settingsOf } from './settings.ts'
import { inParallel } from '../../store/in-parallel.ts'

export type RestoreInput = {
  folder: string
  paths: Paths
  /** Where the objects go: the home's own folder, or a bucket. */
  objects: ObjectStore
  /** The home holds the objects. */
  inHome: boolean
  /** Null: without the keys. */
  passphrase: string | null
  report: Report
}

/**
 * Makes a home from a backup. Everything is checked before anything is written: the backup's every byte,
 * its log, its keys against its trust root, that nothing is there, that there is room. What is written is
 * checked again on its way. The head comes last, and until the end a marker keeps Kiln from starting, so
 * an interrupted restore is only ever repeated.
 */
export async function restoreBackup(input: RestoreInput): Promise<Checked> {
  const { folder, paths, report } = input
  const record = await readRecord(folder)
  const marker = markerOf(record)
  await demandEmpty(paths, marker)
  report(`reading the backup of ${record.madeAt}: ${record.checkpoint.size} entries`)
  const checked = await checkBackup(folder, record)
  const keys = await openKeysOf(input, checked)
  const ports = await addressesOf(folder, record)
  const settings = await settingsOf(folder, record)
  await mkdir(paths.home, { recursive: true, mode: 0o700 })
  const last = await continuing(input, checked)
  if (input.inHome) await demandSpace(paths.home, record.objects.bytes)
  await replaceFile(paths.restoring, marker)
  await copyObjects(input, checked)
  await writeTrust(paths.trust, checked.trust)
  await replaceState(paths, ports)
  if (settings !== null) await placeSettings(paths, settings)
  if (keys !== null) {
    await rm(paths.keys, { recursive: true, force: true })
    await placeKeys(paths.keys, keys, { origin: checked.trust.origin, last })
  }
  await placeHead(input, checked)
  await rm(paths.restoring)
  return checked
}

function markerOf(record: BackupRecord): string {
  return `${JSON.stringify({ version: 1, backup: hashOf(Buffer.from(JSON.stringify(record))) })}\n`
}

/** Only a home that this same restore began may have something in it. */
async function demandEmpty({ home, restoring }: Paths, marker: string): Promise<void> {
  const present = await readdir(home).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  })
  const there = present.filter((name) => name !== 'lost+found')
  if (there.length === 0) return
  const begun = await readFile(restoring, 'utf8').catch(() => undefined)
  if (begun === marker) return
  throw new KilnError(
    'refused',
    begun === undefined
      ? `${home} is not empty: ${there.toSorted().slice(0, 5).join(', ')}`
      : `${home} holds a restore of another backup that has not ended`,
    {
      place: home,
      fix: `kiln down, then move it aside: mv ${home} ${home}.before; or name another home with KILN_HOME`,
    },
  )
}

async function openKeysOf(
  { folder, passphrase }: RestoreInput,
  { record, trust }: Checked,
): Promise<KeyFile[] | null> {
  if (passphrase === null) return null
  if (record.keys === null) {
    throw new KilnError('not_found', 'the backup was made without the signing keys', {
      place: join(folder, recordFile),
      fix: `kiln restore ${folder} --without-keys, then put the folder keys/ into the home from where it is kept`,
    })
  }
  const place = join(folder, record.keys.path)
  const text = (await readNamed(folder, record.keys)).toString('utf8')
  const { files } = await openSealedKeys(text, { passphrase, place })
  demandKeysOf(trust, files)
  return files
}

const addressesForm = z.strictObject({
  version: z.literal(1),
  ports: z.array(z.strictObject({ environment: z.string(), port: z.int().min(1).max(65_535) })),
})

async function addressesOf(folder: string, { addresses }: BackupRecord): Promise<EdgeState> {
  const bytes = await readNamed(folder, addresses)
  const { ports } = addressesForm.parse(JSON.parse(bytes.toString('utf8')))
  return ports.reduce<EdgeState>(
    (state, { environment, port }) => withPort(state, parseEnvironmentName(environment).name, port),
    emptyState,
  )
}

type Last = { size: number; root: string; note: string } | null

/**
 * What the signer signed last: the head of the backup, or of a log already there that goes on from it, as
 * in a bucket that outlived the machine. Throws `ledger_forked` for any other log.
 */
async function continuing({ objects, inHome }: RestoreInput, checked: Checked): Promise<Last> {
  const { trust, record } = checked
  const { note, size, root } = record.checkpoint
  const head = await objects.head.read()
  if (head === undefined) return size === 0 ? null : { size, root, note }
  const present = Buffer.from(head.bytes).toString('utf8')
  if (present === note) return { size, root, note }
  const { store } = objects
  const seen = size === 0 ? {} : { seen: note }
  await openLogView({ store, head: objects.head, trust, ...seen })
    .refresh()
    .catch((error: unknown) => {
      if (!(error instanceof KilnError) || error.retryable) throw error
      throw new KilnError(
        'ledger_forked',
        `${objects.place} holds another log, or an older one: ${error.message}`,
        {
          place: objects.place,
          cause: error,
          fix: inHome
            ? 'restore into an empty home'
            : 'restore into an empty prefix of the bucket: KILN_STORE=s3://<bucket>/<new prefix>',
        },
      )
    })
  const log = { origin: trust.origin, publicKey: publicKeyOf(derOf(trust.logKey)) }
  const found = verifyCheckpoint(present, log)
  return { size: found.size, root: toBase64(found.root), note: present }
}

async function copyObjects({ objects, report }: RestoreInput, checked: Checked): Promise<void> {
  const to = objects.store
  report(`copying ${checked.objects.length} objects, ${megabytes(bytesOf(checked.objects))}`)
  const tell = progress(report, bytesOf(checked.objects))
  await inParallel(checked.objects, 8, async ({ key, size, sha256 }) => {
    if ((await to.size(key)) !== size || !key.startsWith('blobs/')) {
      await copyOne(checked, to, { key, sha256 })
    }
    tell(size)
  })
}

async function copyOne(
  { store }: Checked,
  to: ObjectStore['store'],
  { key, sha256 }: { key: string; sha256: string },
): Promise<void> {
  if (key.startsWith('blobs/')) {
    const digest = digestOfHex(sha256)
    const content = await store.readBlob(digest)
    if (content === undefined) throw vanished(key)
    await to.putBlob(content, digest)
    return
  }
  const bytes = await store.get(key)
  if (bytes === undefined || hashOf(bytes) !== sha256) throw vanished(key)
  await to.put(key, bytes)
}

function vanished(key: string): KilnError {
  return new KilnError('digest_mismatch', 'the backup changed while it was restored', {
    place: key,
    fix: 'let nothing else write into the backup, and restore again',
  })
}

async function placeHead({ objects }: RestoreInput, { record }: Checked): Promise<void> {
  if (record.checkpoint.size === 0 || (await objects.head.read()) !== undefined) return
  await objects.head.swap(undefined, Buffer.from(record.checkpoint.note))
}

/** Each environment keeps its port; who serves there is for the host to say. */
async function replaceState(paths: Paths, state: EdgeState): Promise<void> {
  await mkdir(paths.edge, { recursive: true, mode: 0o700 })
  await replaceFile(edgePathsOf(paths).state, `${JSON.stringify(state, null, 2)}\n`)
}
