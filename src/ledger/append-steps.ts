import { toBase64 } from '../../signing/base64.ts'
import { leafHash } from '../../signing/merkle.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'
import type { Leaf } from '../domain/statement.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'
import { openLogView, type LogView } from './log-view.ts'
import {
  encodeEntries,
  hashTile,
  newTiles,
  readTiles,
  tileKey,
  tileWidth,
  type TileName,
} from './tiles.ts'

/** A checkpoint that was signed; `root` is base64. */
export type Signed = { size: number; root: string; note: string }

/** The part of the signer that the log needs: it never signs what does not continue what it signed last. */
export type CheckpointPort = {
  checkpoint(request: {
    origin: string
    size: number
    root: string
    proof: string[]
  }): Promise<
    { kind: 'signed'; note: string } | { kind: 'refused'; message: string; last: Signed | null }
  >
  lastCheckpoint(): Promise<Signed | null>
}

export type AppenderDeps = {
  store: BlobStore
  head: HeadStore
  signer: CheckpointPort
  trust: TrustRoot
  /** Named places at which tests kill the process. */
  crashPoint: (name: string) => void
}

/** The log as its writer has it in mind. */
export type LogState = AppenderDeps & {
  view: LogView
  /** Where each leaf stands. */
  indexes: Map<Leaf, number>
  /** Entries of the last tile while it is not full: the next tile of entries begins with them. */
  tail: Uint8Array[]
}

export function openLogState(deps: AppenderDeps): LogState {
  return { ...deps, view: openLogView(deps), indexes: new Map(), tail: [] }
}

/** A batch with its place: `entries` are the leaves from `base` up to `size`. */
export type Batch = {
  base: number
  size: number
  root: Uint8Array
  entries: readonly Uint8Array[]
}

/** Learns what is in the log by now. */
export async function catchUp(log: LogState): Promise<void> {
  const from = log.view.size
  await log.view.refresh()
  remember(log, from)
  log.tail = await readTail(log)
}

function remember({ view, indexes }: LogState, from: number): void {
  for (let index = from; index < view.size; index += 1) {
    indexes.set(Buffer.from(view.tree.node(0, index)).toString('hex'), index)
  }
}

async function readTail({ store, view }: LogState): Promise<Uint8Array[]> {
  const from = view.size - (view.size % tileWidth)
  const tail: Uint8Array[] = []
  for await (const entries of readTiles(store, 'entries', { from, to: view.size })) {
    tail.push(...entries)
  }
  const damaged = tail.findIndex(
    (entry, n) => Buffer.compare(leafHash(entry), view.tree.node(0, from + n)) !== 0,
  )
  if (damaged === -1) return tail
  throw new KilnError('ledger_corrupt', `entry ${from + damaged} is not the one in the tree`, {
    place: 'tile/entries',
  })
}

/** The batch, its leaves in the tree in memory and nowhere else. */
export function grow({ view }: LogState, entries: readonly Uint8Array[]): Batch {
  const base = view.size
  view.tree.cut(base)
  view.tree.grow(entries.map(leafHash))
  const size = base + entries.length
  return { base, size, root: view.tree.root(size), entries }
}

/** The base is in the name: the same tree may be reached in steps that were cut otherwise. */
export function stagingKey({ base, size, root }: Omit<Batch, 'entries'>): string {
  return `staging/${size}-${Buffer.from(root).toString('hex')}/${base}`
}

/** What is signed can always be completed: its leaves are on the disk first. */
export async function stage({ store, crashPoint }: LogState, batch: Batch): Promise<void> {
  await store.put(stagingKey(batch), encodeEntries(batch.entries))
  crashPoint('ledger.staged')
}

/** Throws `lost_race` when another tree was signed since `last`. */
export async function signBatch(log: LogState, batch: Batch, last: Signed | null): Promise<string> {
  const answer = await log.signer.checkpoint({
    origin: log.trust.origin,
    size: batch.size,
    root: toBase64(batch.root),
    proof: log.view.tree.consistencyProof(last?.size ?? 0, batch.size).map(toBase64),
  })
  if (answer.kind === 'refused') throw new KilnError('lost_race', answer.message)
  log.crashPoint('ledger.checkpoint-signed')
  return answer.note
}

/** Only for a signed tree: then each tile's name, a partial one's too, has one possible content. */
export async function storeTiles(log: LogState, batch: Batch): Promise<void> {
  const { store, tail, view } = log
  const entries = [...tail, ...batch.entries]
  const start = batch.base - tail.length
  const bytesOf = (name: TileName): Uint8Array => {
    if (name.level !== 'entries') return hashTile(view.tree, name)
    const first = name.index * tileWidth - start
    return encodeEntries(entries.slice(first, first + name.width))
  }
  const tiles = newTiles(batch.base, batch.size)
  await Promise.all(tiles.map((name) => store.put(tileKey(name), bytesOf(name))))
  log.crashPoint('ledger.tiles-stored')
}

/** From here on the batch is in the log. Throws `lost_race`. */
export async function swapHead(log: LogState, batch: Batch, note: string): Promise<void> {
  const { version } = await log.head.swap(log.view.head?.version, Buffer.from(note))
  log.crashPoint('ledger.head-swapped')
  log.view.accept({ note, version }, batch.size)
  remember(log, batch.base)
  const rest = batch.size % tileWidth
  log.tail = rest === 0 ? [] : [...log.tail, ...batch.entries].slice(-rest)
}
