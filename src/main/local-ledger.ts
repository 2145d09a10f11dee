import pino from 'pino'
import { readTrust } from '../../signing/trust-files.ts'
import type { FsckReport, Report } from '../cli/local-port.ts'
import { fsck } from '../ledger/fsck.ts'
import { openIndex } from '../ledger/index-database.ts'
import type { Config } from './config.ts'
import { openLedgerView } from './ledger-view.ts'
import { readObjectStore } from './object-store.ts'

/** Derives the whole log again from the folder; needs no server. */
export async function localFsck(config: Config, report: Report): Promise<FsckReport> {
  const { store, head, place } = readObjectStore(config.store, { readOnly: true })
  report(`reading ${place}`)
  return fsck({ store, head, trust: await readTrust(config.paths.trust) })
}

/** Rebuilds the SQL fold; an index in a folder has one owner, so a running server is refused. */
export async function localReindex({
  paths,
  store,
  index: place,
}: Config): Promise<{ entries: number; digest: string }> {
  const logger = pino({ level: 'silent' })
  const { reader } = await openLedgerView(paths, logger, { place: store })
  await reader.refresh()
  const index = await openIndex({ place, logger })
  try {
    return await index.reindex(reader)
  } finally {
    await index.close()
  }
}
