import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import pino from 'pino'
import { readTrust } from '../../signing/trust-files.ts'
import type { BackupReport, Passphrase, Report, RestoreReport } from '../cli/local-port.ts'
import { KilnError } from '../domain/error.ts'
import { readState } from '../edge/state.ts'
import { makeBackup } from './backup/backup.ts'
import { restoreBackup } from './backup/restore.ts'
import { readSettings } from './backup/settings.ts'
import { lockCollections } from './collection-lock.ts'
import type { Config } from './config.ts'
import { edgePathsOf } from './edge-paths.ts'
import { openLedgerView, type LedgerView } from './ledger-view.ts'
import { openObjectStore, readObjectStore } from './object-store.ts'
import { demandSeenBefore, memoryPathOf, readMemory } from './own-memory.ts'
import { packageVersion } from './package-version.ts'
import type { Paths } from './paths.ts'

export type Machine = {
  config: Config
  environment: Readonly<Record<string, string | undefined>>
  folder: string
}

/** Copies what is needed to serve again into a folder; Kiln may run meanwhile. */
export async function localBackup(
  { config, environment, folder }: Machine,
  passphrase: Passphrase,
  report: Report,
): Promise<BackupReport> {
  const { store, head } = readObjectStore(config.store, { readOnly: true })
  const words = await wordsOf(passphrase, environment)
  const trust = await readTrust(config.paths.trust)
  await demandSeenBefore(config, { store, head, trust })
  const lock = await lockCollections(config)
  try {
    return await makeBackup({
      folder: resolve(folder),
      store,
      head,
      trust,
      keys: words === null ? null : { folder: config.paths.keys, passphrase: words },
      addresses: await addressesOf(config.paths),
      settings: await readSettings(config.paths),
      kiln: packageVersion(),
      now: () => new Date(),
      report,
    })
  } finally {
    lock.release()
  }
}

/** Makes this machine's home from a backup, and says what will serve. */
export async function localRestore(
  { config, environment, folder }: Machine,
  passphrase: Passphrase,
  report: Report,
): Promise<RestoreReport> {
  const { paths } = config
  const objects = openObjectStore(config.store)
  const words = await wordsOf(passphrase, environment)
  const { record } = await restoreBackup({
    folder: resolve(folder),
    paths,
    objects,
    inHome: config.store.kind === 'folder',
    passphrase: words,
    report,
  })
  const view = await openLedgerView(paths, pino({ level: 'silent' }), {
    place: config.store,
    root: config.root,
  })
  const ledger = await view.reader.refresh()
  return {
    home: config.home,
    store: objects.place,
    entries: ledger.size,
    madeAt: record.madeAt,
    keys: words === null ? 'left out' : 'restored',
    lost: await lostSince(config, view),
    environments: [...ledger.environments.values()].flatMap(
      ({ environment: name, active, instances }) =>
        active === null ? [] : [{ environment: name, digest: active.body.digest, instances }],
    ),
  }
}

/** Entries that this person saw before and that are not in what was restored; null: none. */
async function lostSince(config: Config, { reader }: LedgerView): Promise<RestoreReport['lost']> {
  const { size } = reader.ledger()
  const path = memoryPathOf(config)
  const memory = await readMemory(config, reader.trust()).catch(() => undefined)
  if (memory === undefined) return { entries: null, memory: path }
  const entries = (memory.seen?.size ?? 0) - size
  return entries > 0 ? { entries, memory: path } : null
}

async function addressesOf(paths: Paths): Promise<{ environment: string; port: number }[]> {
  const { environments } = await readState(edgePathsOf(paths).state)
  return environments.map(({ environment, port }) => ({ environment, port }))
}

/** The passphrase itself; null when the keys are left out. It appears in no error. */
async function wordsOf(
  passphrase: Passphrase,
  environment: Machine['environment'],
): Promise<string | null> {
  switch (passphrase.kind) {
    case 'none':
      return null
    case 'text':
      return demandWords(passphrase.text, 'what was typed')
    case 'variable':
      return demandWords(environment[passphrase.name] ?? '', `the variable ${passphrase.name}`)
    case 'file':
      return demandWords(await readClosed(passphrase.path), passphrase.path)
  }
}

function demandWords(text: string, place: string): string {
  const words = text.replace(/\r?\n$/, '')
  if (words !== '') return words
  throw new KilnError('invalid_input', 'the passphrase is empty', { place })
}

async function readClosed(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) {
    throw new KilnError('not_found', `no passphrase file at ${path}`, { place: path })
  }
  if ((found.mode & 0o077) === 0) return readFile(path, 'utf8')
  throw new KilnError('prerequisite_missing', `${path} is open to other users`, {
    place: path,
    fix: `chmod go= ${path}`,
  })
}
