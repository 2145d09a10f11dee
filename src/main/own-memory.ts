import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pino } from 'pino'
import { verifyCheckpoint } from '../../signing/checkpoint.ts'
import { publicKeyOf } from '../../signing/public-key.ts'
import { readTrust } from '../../signing/trust-files.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'
import { openLogView } from '../ledger/log-view.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'
import { replaceFile } from '../store/replace-file.ts'
import type { Config } from './config.ts'
import { openLedgerView, type LedgerView } from './ledger-view.ts'
import { readSeen } from './seen-checkpoint.ts'

/** What the person at the command line was shown of this home's log the last time. */
export type OwnMemory = {
  path: string
  /** Null before the first time. */
  seen: { note: string; size: number } | null
}

/**
 * One file for each home and origin, in the person's own folder of state: a home that is put back to an
 * earlier day, trust root and all, does not put back what its readers saw.
 */
export function memoryPathOf({ home, origin, stateFolder }: Config): string {
  const tail = createHash('sha256').update(home).digest('hex').slice(0, 16)
  return join(stateFolder, 'seen', `${origin}-${tail}`)
}

/**
 * Throws `ledger_forked` when what was seen was signed by another key than the home now trusts, and
 * `prerequisite_missing` when it cannot be read: then nothing is known, which is no reason to believe.
 */
export async function readMemory(config: Config, trust: TrustRoot): Promise<OwnMemory> {
  const path = memoryPathOf(config)
  const note = await readSeen(path).catch((cause: unknown) => {
    throw new KilnError('prerequisite_missing', 'what was seen here before cannot be read', {
      cause,
      place: path,
      fix: 'let this user read it',
    })
  })
  if (note === undefined) return { path, seen: null }
  const log = { origin: trust.origin, publicKey: publicKeyOf(derOf(trust.logKey)) }
  try {
    return { path, seen: { note, size: verifyCheckpoint(note, log).size } }
  } catch (cause) {
    const what = 'the log that was seen here before was signed by another key'
    throw new KilnError('ledger_forked', what, { cause, place: path, fix: fixFor(path) })
  }
}

/**
 * The ledger for a person at the command line, who is never shown a log that ends before the one that
 * they saw, or another one: `refresh` throws `ledger_forked`. `memory` is as it was before.
 */
export async function openOwnView(config: Config): Promise<LedgerView & { memory: OwnMemory }> {
  const memory = await readMemory(config, await readTrust(config.paths.trust))
  const view = await openLedgerView(config.paths, pino({ level: 'silent' }), {
    place: config.store,
    root: config.root,
    ...noteIn(memory),
  })
  const { reader } = view
  const refresh = async () => {
    const ledger = await reader.refresh().catch((error: unknown) => {
      throw withMemory(error, memory)
    })
    await remember(memory, reader.checkpoint())
    return ledger
  }
  return { ...view, memory, reader: { ...reader, refresh } }
}

/** The same for what reads the store without the ledger over it. Throws `ledger_forked`. */
export async function demandSeenBefore(
  config: Config,
  log: { store: BlobStore; head: Pick<HeadStore, 'read'>; trust: TrustRoot },
): Promise<void> {
  const memory = await readMemory(config, log.trust)
  const view = openLogView({ ...log, ...noteIn(memory) })
  await view.refresh().catch((error: unknown) => {
    throw withMemory(error, memory)
  })
  await remember(memory, view.head && { size: view.size, note: view.head.note })
}

function noteIn({ seen }: OwnMemory): { seen?: string } {
  return seen === null ? {} : { seen: seen.note }
}

/**
 * Where a person may not write, there is no memory, which is no reason to refuse: what they are shown was
 * verified. What cannot be read is refused.
 */
async function remember(
  { path, seen }: OwnMemory,
  head: { size: number; note: string } | null,
): Promise<void> {
  if (head === null || head.size <= (seen?.size ?? 0)) return
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await replaceFile(path, head.note)
  } catch {
    // The next time compares with what was kept before.
  }
}

/** A log that is not the one that was seen: says where that is remembered. */
function withMemory(error: unknown, { path }: OwnMemory): unknown {
  if (!(error instanceof KilnError) || error.code !== 'ledger_forked') return error
  const { message } = error
  return new KilnError('ledger_forked', message, { cause: error, place: path, fix: fixFor(path) })
}

function fixFor(path: string): string {
  return `find the newer store and put it back: docs/recovery.md, case 6. Only if you know why this is another log: rm ${path}`
}
