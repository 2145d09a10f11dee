import pino from 'pino'
import { readTrust } from '../../signing/trust-files.ts'
import type { FsckReport, Report } from '../cli/local-port.ts'
import { KilnError } from '../domain/error.ts'
import { fsck } from '../ledger/fsck.ts'
import { openIndex } from '../ledger/index-database.ts'
import type { Config } from './config.ts'
import { pinnedRoot } from './pinned-root.ts'
import { readObjectStore } from './object-store.ts'
import { demandSeenBefore, openOwnView } from './own-memory.ts'

/** Derives the whole log again from the folder; needs no server. */
export async function localFsck(config: Config, report: Report): Promise<FsckReport> {
  const { store, head, place } = readObjectStore(config.store, { readOnly: true })
  report(`reading ${place}`)
  const trust = await readTrust(config.paths.trust)
  const root = await pinnedRoot(config.paths, trust, config.root)
  const log = { store, head, trust }
  const found = await fsck({ ...log, root })
  // A damaged log is said to be damaged, and nothing of it is remembered.
  if (found.problems.length > 0) return found
  const fork = await forkIn(demandSeenBefore(config, log))
  return { ...found, problems: fork === null ? [] : [fork] }
}

async function forkIn(check: Promise<void>): Promise<FsckReport['problems'][number] | null> {
  try {
    await check
    return null
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'ledger_forked') throw error
    return { place: 'head', message: `${error.message}; ${error.fix}` }
  }
}

/** Rebuilds the SQL fold; an index in a folder has one owner, so a running server is refused. */
export async function localReindex(config: Config): Promise<{ entries: number; digest: string }> {
  const { reader } = await openOwnView(config)
  await reader.refresh()
  const index = await openIndex({ place: config.index, logger: pino({ level: 'silent' }) })
  try {
    return await index.reindex(reader)
  } finally {
    await index.close()
  }
}
