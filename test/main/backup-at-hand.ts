import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { pino } from 'pino'
import { afterAll } from 'vitest'
import type { BackupReport } from '../../src/cli/local-port.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import { makeBackup, type BackupInput } from '../../src/main/backup/backup.ts'
import { restoreBackup } from '../../src/main/backup/restore.ts'
import type { Settings } from '../../src/main/backup/settings.ts'
import { openObjectStore } from '../../src/main/object-store.ts'
import { pathsOf, type Paths } from '../../src/main/paths.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })
export const passphrase = 'correct horse battery staple'
export const settings: Settings = {
  watches: [
    {
      repository: 'https://git.example/shop.git',
      branches: ['main'],
      principal: { name: 'token', kind: 'token' },
      since: '2026-01-01T00:00:00.000Z',
    },
  ],
  repositories: [
    { address: 'https://git.example/shop.git', token: { user: 'ci', tokenFile: '/etc/kiln/shop' } },
  ],
}

type Home = {
  paths: Paths
  store: BlobStore
  ledger: LedgerWriter
  input: BackupInput
  backup: (more?: Partial<BackupInput>) => Promise<BackupReport>
}

const folders: string[] = []
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-backup-'))
  folders.push(folder)
  return folder
}

export async function* content(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

/** A Kiln of three entries and a few blobs, as it lies on the disk, and a folder for its backups. */
export async function homeAtHand(): Promise<Home> {
  const folder = scratch()
  const paths = pathsOf(join(folder, 'home'))
  const ledger = await ledgerAt(paths)
  const store = openFolderStore({ root: paths.store })
  const blob = async (text: string): Promise<Digest> => (await store.putBlob(content(text))).digest
  const manifest = {
    config: { digest: await blob('{}') },
    layers: [{ digest: await blob('layer') }],
  }
  const signable = example('sealed')
  const { leaf } = await ledger.decide({
    id: 'sealed',
    signable: {
      ...signable,
      artifact: await blob(JSON.stringify(manifest)),
      body: {
        ...signable.body,
        files: await blob('files'),
        specification: await blob('kiln.yaml'),
        pipeline: [],
      },
    },
  })
  await ledger.publishedBundle(leaf)
  await ledger.decide({ id: 'refusal', signable: example('refusal') })
  await ledger.decide({ id: 'drift', signable: example('drift') })
  await store.put('repositories/hello/manifest', Buffer.from('m'))
  await store.put('probe/one', Buffer.from('p'))
  const input: BackupInput = {
    folder: join(folder, 'backup'),
    store,
    head: openFolderHead({ root: paths.store }),
    trust: (await folderSigner(paths.keys)).trust,
    keys: { folder: paths.keys, passphrase, scryptN: 16_384 },
    addresses: [{ environment: 'hello/prod', port: 7412 }],
    settings,
    kiln: '0.1.0',
    now: () => new Date('2026-01-01T00:00:00Z'),
    report,
  }
  return {
    paths,
    store,
    ledger,
    input,
    backup: (more = {}) => makeBackup({ ...input, ...more }),
  }
}

export async function ledgerAt(paths: Paths): Promise<LedgerWriter> {
  const signer = await folderSigner(paths.keys)
  return openLedger({
    store: openFolderStore({ root: paths.store }),
    head: openFolderHead({ root: paths.store }),
    signer,
    trust: signer.trust,
    logger,
  })
}

function report(): void {}

export function restored(folder: string, more: Partial<Parameters<typeof restoreBackup>[0]> = {}) {
  const paths = pathsOf(join(scratch(), 'restored'))
  const objects = openObjectStore({ kind: 'folder', root: paths.store })
  return {
    paths,
    run: () => restoreBackup({ folder, paths, objects, inHome: true, passphrase, report, ...more }),
  }
}

export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .toSorted()
}

export async function problemsAt(paths: Paths) {
  const { trust } = await folderSigner(paths.keys)
  const head = openFolderHead({ root: paths.store })
  return fsck({ store: openFolderStore({ root: paths.store }), head, trust })
}
