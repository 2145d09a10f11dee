import { leafHash } from '../../signing/merkle.ts'
import {
  attachLogEntry,
  logEntryOf,
  type BundleEntry,
  type LoggedBundle,
} from '../../signing/bundle.ts'
import type { RoleHistory } from '../../signing/role-history.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import type { Logger } from 'pino'
import { KilnError } from '../domain/error.ts'
import { emptyLedger, fold, type Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Fact, FactOf, Leaf } from '../domain/statement.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'
import { sharedRun } from '../store/shared-run.ts'
import { readEntry, readLeafBundle, type LogEntry, type ReadEntry } from './entry.ts'
import { openLogRoles } from './log-roles.ts'
import { openLogView, type LogView } from './log-view.ts'
import { readTiles } from './tiles.ts'

/**
 * The ledger for any process: it reads the store and nothing else, and believes only what it has
 * checked: the checkpoint's signature, the root over all entries, each entry's bundle, signature and role.
 */
export type LedgerReader = {
  /**
   * The fold over the log as it is now. Throws `ledger_forked` when the log is shorter than seen or
   * another one, `ledger_corrupt` when a part is missing or damaged, `verification_failed` when its roles
   * were made by another root than the pinned one; what was read before stays.
   */
  refresh(): Promise<Ledger>
  /** The fold as of the last refresh. */
  ledger(): Ledger
  /** Facts from a log index on, in log order, those that the fold found void among them. */
  facts(from?: number): readonly Fact[]
  factOf(leaf: Leaf): Fact | undefined
  /** The bundle with its proof of inclusion in the newest checkpoint seen. Throws `not_found`. */
  bundleOf(leaf: Leaf): Promise<LoggedBundle>
  /** What is told of a leaf at an index, with its proof in the newest checkpoint seen. Throws `not_found`. */
  entryOf(leaf: Uint8Array, index: number): BundleEntry
  /** The newest checkpoint seen, null while the log is empty. */
  checkpoint(): { size: number; note: string } | null
  /** Whether the log begins with this tree; null: as far as it was read it is not that long. */
  beginsWith(tree: { size: number; root: Uint8Array }): boolean | null
  /** The hash of the tree (hex) that the log was at this size; null: as far as it was read it is not that long. */
  rootAt(size: number): string | null
  /** The valid key of an environment with this sequence. */
  keyOf(environment: EnvironmentName, sequence: number): FactOf<'key'> | undefined
  /** Which key may sign as what from where to where, as the log says it up to now. */
  trust(): TrustRoot
  roles(): RoleHistory
}

export type LedgerReaderDeps = {
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  /** What is known beforehand: the log's key and its root. The rest is read in the log. */
  trust: TrustRoot
  /** Fingerprint of the root that must have made the log's roles: `sha256:<64 hex>`. */
  root?: string
  logger: Logger
  /** The note of `checkpoint()` that an earlier run of this process kept. */
  seen?: string
}

export function openLedgerReader(deps: LedgerReaderDeps): LedgerReader {
  const { store, logger } = deps
  const view = openLogView(deps)
  const roles = openLogRoles(deps)
  const known = openFacts()

  /**
   * Entries are taken in log order, each whole batch after all of it was checked. Ranges are by log index:
   * the newest list is right about every entry.
   */
  async function takeEntries(entries: readonly LogEntry[]): Promise<void> {
    const history = roles.history()
    const read = await Promise.all(entries.map((entry) => readEntry({ store, history }, entry)))
    for (const [n, found] of read.entries()) {
      if (found.kind !== 'ignored') continue
      const index = entries[n]?.index
      logger.warn({ index, reason: found.reason }, 'a ledger entry counts for nothing')
    }
    known.take(read, entries.length)
  }

  const refresh = sharedRun(async () => {
    await view.refresh()
    const range = { from: known.size(), to: view.size }
    for await (const tile of readTiles(store, 'entries', range)) {
      const from = known.size()
      const entries = tile.map((bytes, n) => ({ bytes, index: from + n }))
      for (const entry of entries) demandInTree(view.tree.node(0, entry.index), entry)
      await roles.take(entries)
      await takeEntries(entries)
    }
    roles.demandRoot()
    return known.ledger()
  })

  return {
    refresh,
    ledger: known.ledger,
    facts: known.facts,
    factOf: known.factOf,
    keyOf: known.keyOf,
    checkpoint: () => view.head && { size: view.size, note: view.head.note },
    beginsWith: (tree) =>
      tree.size > view.size ? null : Buffer.compare(view.tree.root(tree.size), tree.root) === 0,
    rootAt: (size) => (size > view.size ? null : Buffer.from(view.tree.root(size)).toString('hex')),
    entryOf: (leaf, index) => entryOf(roles.trust(), view, { leaf, index }),
    bundleOf: (leaf) => bundleOf({ store, trust: roles.trust() }, view, known.factOf(leaf)),
    trust: roles.trust,
    roles: roles.history,
  }
}

type Facts = Pick<LedgerReader, 'ledger' | 'factOf' | 'keyOf'> & {
  facts: (from?: number) => readonly Fact[]
  /** Entries that are folded; a refresh that failed goes on from here. */
  size: () => number
  take: (read: readonly ReadEntry[], entries: number) => void
}

/** The fold and what finds its facts. */
function openFacts(): Facts {
  const facts: Fact[] = []
  const byLeaf = new Map<Leaf, Fact>()
  const keys = new Map<string, FactOf<'key'>>()
  let ledger = emptyLedger()
  let size = 0

  function takeFact(fact: Fact): void {
    ledger = fold(ledger, fact)
    facts.push(fact)
    byLeaf.set(fact.leaf, fact)
    if (fact.kind === 'key' && !ledger.void.has(fact.leaf)) {
      keys.set(keyName(fact.body.environment, fact.body.sequence), fact)
    }
  }

  return {
    ledger: () => ledger,
    facts: (from = 0) => facts.slice(firstFrom(facts, from)),
    factOf: (leaf) => byLeaf.get(leaf),
    keyOf: (environment, sequence) => keys.get(keyName(environment, sequence)),
    size: () => size,
    take(read, entries) {
      for (const found of read) if (found.kind === 'fact') takeFact(found.fact)
      size += entries
    },
  }
}

function entryOf(
  trust: TrustRoot,
  { tree, size, head }: LogView,
  { leaf, index }: { leaf: Uint8Array; index: number },
): BundleEntry {
  const stands =
    head !== null && index < size && Buffer.compare(tree.node(0, index), leafHash(leaf)) === 0
  if (!stands) throw new KilnError('not_found', `entry ${index} is not this one`)
  const proof = tree.inclusionProof(index, size)
  return logEntryOf(leaf, { index, proof, checkpoint: head.note, logKey: derOf(trust.logKey) })
}

async function bundleOf(
  { store, trust }: Pick<LedgerReaderDeps, 'store' | 'trust'>,
  { tree, size, head }: LogView,
  fact: Fact | undefined,
): Promise<LoggedBundle> {
  if (fact === undefined || head === null) {
    throw new KilnError('not_found', 'no such statement in the log')
  }
  const { index, leaf } = fact
  // Before anything is awaited: the view may move on, and proof and checkpoint belong together.
  const place = { index, proof: tree.inclusionProof(index, size), checkpoint: head.note }
  const { bundle, key } = await readLeafBundle({ store, trust }, leaf)
  const [roleKey, logKey] = [derOf(key.publicKey), derOf(trust.logKey)]
  return attachLogEntry(bundle, { ...place, roleKey, logKey })
}

function keyName(environment: EnvironmentName, sequence: number): string {
  return `${environment} ${sequence}`
}

/** Where the facts from a log index on begin: entries that are no facts leave gaps. */
function firstFrom(facts: readonly Fact[], index: number): number {
  let low = 0
  let high = facts.length
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((facts[middle]?.index ?? Infinity) < index) low = middle + 1
    else high = middle
  }
  return low
}

function demandInTree(hash: Uint8Array, { index, bytes }: LogEntry): void {
  if (Buffer.compare(leafHash(bytes), hash) === 0) return
  throw new KilnError('ledger_corrupt', `entry ${index} is not the one in the tree`, {
    place: `tile/entries, entry ${index}`,
    fix: 'kiln fsck lists everything that is wrong; restore the store from its backup',
  })
}
