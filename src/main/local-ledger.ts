import pino from 'pino'
import { readTrust } from '../../signing/trust-files.ts'
import type { FsckReport, Report } from '../cli/local-port.ts'
import { fsck } from '../ledger/fsck.ts'
import { openIndex } from '../ledger/index-database.ts'
import { readFolderHead } from '../store/folder-head.ts'
import { openFolderStore } from '../store/folder-store.ts'
import type { Config } from './config.ts'
import { openLedgerView } from './ledger-view.ts'

/** Derives the whole log again from the folder; needs no server. */
export async function localFsck({ paths }: Config, report: Report): Promise<FsckReport> {
  const store = openFolderStore({ root: paths.store, readOnly: true })
  const head = readFolderHead({ root: paths.store })
  report(`reading ${paths.store}`)
  return fsck({ store, head, trust: await readTrust(paths.trust) })
}

/** Rebuilds the SQL fold; the index has one owner, so a running server is refused. */
export async function localReindex({
  paths,
}: Config): Promise<{ entries: number; digest: string }> {
  const logger = pino({ level: 'silent' })
  const { reader } = await openLedgerView(paths, logger)
  await reader.refresh()
  const index = await openIndex({ dir: paths.index, logger })
  try {
    return await index.reindex(reader)
  } finally {
    await index.close()
  }
}
