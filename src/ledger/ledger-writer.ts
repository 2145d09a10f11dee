import { createHash } from 'node:crypto'
import type { Logger } from 'pino'
import {
  bundleBytes,
  envelopeOf,
  parseLoggedBundle,
  parseSignedBundle,
  type BundleEntry,
  type SignedBundle,
} from '../../signing/bundle.ts'
import { leafName, leafOfEnvelope, type LeafContent } from '../../signing/leaf.ts'
import type { Signable } from '../../signing/statement.ts'
import { statementBytes } from '../../signing/statements.ts'
import { derOf, type RoleKey, type TrustRoot } from '../../signing/trust.ts'
import { verifyBundle, verifySignature, type Wanted } from '../../signing/verify.ts'
import { KilnError } from '../domain/error.ts'
import type { Digest } from '../domain/digest.ts'
import { roleOf } from '../domain/role.ts'
import type { Fact, FactKind, Leaf } from '../domain/statement.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'
import { openAppender } from './appender.ts'
import type { CheckpointPort } from './append-steps.ts'
import { leafBundleKey } from './entry.ts'
import { checkEntry } from './foreign-entry.ts'
import { openLedgerReader, type LedgerReader } from './ledger-reader.ts'

/** What signs, in its own process: statements by their role's key, and checkpoints. */
export type SignerPort = CheckpointPort & { sign(signable: Signable): Promise<SignedBundle> }

export type LedgerWriterDeps = {
  store: BlobStore
  head: HeadStore
  signer: SignerPort
  trust: TrustRoot
  logger: Logger
  /** Named places at which tests kill the process. */
  crashPoint?: (name: string) => void
}

/** A decision as it stands in the log. */
export type Decided = { leaf: Leaf; index: number; fact: Fact }

export type LedgerWriter = LedgerReader & {
  /** Ends an interrupted append; refuses a store that is older than what the signer remembers. Before the first `decide`. */
  complete(): Promise<void>
  /**
   * Signs, stores, logs and reads back one decision. Under one id there is one decision: the first that
   * was stored stands, whatever a repetition says, and is returned. Throws `lost_race` when the log's
   * order made it void.
   */
  decide(decision: { id: string; signable: Signable }): Promise<Decided>
  /** The bundle with its proof, the same bytes for ever once made, and the key under which they lie. */
  publishedBundle(leaf: Leaf): Promise<{ key: string; bytes: Uint8Array }>
  /**
   * Logs what somebody else signed, once however often it is asked, and gives its place; it is no fact. The
   * `allowed` are hints of keys. Throws as `checkEntry` does, and `refused` for a role key's own.
   */
  logForeign(content: LeafContent, allowed: ReadonlySet<string>): Promise<BundleEntry>
  /** Reads a statement back from the store and checks all of it. Throws `verification_failed`. */
  verify(leaf: Leaf, expected: { kind: FactKind; artifact: Digest | null }): Promise<void>
}

/** Facts that the log's order can make void. */
const conditional: ReadonlySet<FactKind> = new Set(['change', 'key', 'activation', 'release'])

export function openLedger(deps: LedgerWriterDeps): LedgerWriter {
  const { trust, crashPoint = () => {} } = deps
  const appender = openAppender({ ...deps, crashPoint })
  const reader = openLedgerReader(deps)

  return {
    ...reader,
    complete: appender.complete,
    async decide({ id, signable }) {
      const { leaf, bytes } = await storeBundle({ ...deps, crashPoint }, id, signable)
      crashPoint('ledger.bundle-stored')
      const index = await appender.append(bytes)
      const fact = await readBack(reader, { leaf, index })
      if (conditional.has(fact.kind) && reader.ledger().void.has(leaf)) {
        throw new KilnError('lost_race', `this ${fact.kind} came too late: another was first`)
      }
      return { leaf, index, fact }
    },
    async logForeign(content, allowed) {
      const { leaf, by } = checkEntry(content, { trust, allowed })
      const index = by === 'foreign' ? await appender.append(leaf) : await knownIndex(reader, leaf)
      await reader.refresh()
      return reader.entryOf(leaf, index)
    },
    async publishedBundle(leaf) {
      const published = await publish(deps.store, reader, leaf)
      crashPoint('ledger.published')
      return published
    },
    async verify(leaf, { kind, artifact }) {
      const wanted: Wanted = artifact === null ? { kind } : { kind, subject: artifact }
      const { bytes } = await publish(deps.store, reader, leaf)
      verifyBundle(parseLoggedBundle(bytes), trust, wanted)
    },
  }
}

/** Where a role key's entry stands already. One that the signer did not make would have no bundle: no reader could go on. */
async function knownIndex(reader: LedgerReader, leaf: Uint8Array): Promise<number> {
  await reader.refresh()
  const fact = reader.factOf(leafName(leaf))
  if (fact !== undefined) return fact.index
  throw new KilnError('refused', "Kiln's own keys speak through its signer alone", {
    place: 'signature.verifier',
  })
}

type Signed = { bytes: Uint8Array; bundle: SignedBundle; key: RoleKey }

/**
 * The decision's bundle, durable under its id and its leaf before anyone logs it. ECDSA is randomised:
 * signing again would give another leaf, so a repetition takes the bundle that is there.
 */
async function storeBundle(
  deps: LedgerWriterDeps & { crashPoint: (name: string) => void },
  id: string,
  signable: Signable,
): Promise<{ leaf: Leaf; bytes: Uint8Array }> {
  const name = `bundles/decision/${createHash('sha256').update(id).digest('hex')}`
  const { bytes, bundle, key } = await firstDecision(deps, name, signable)
  deps.crashPoint('ledger.decision-stored')
  const entry = leafOfEnvelope(envelopeOf(bundle), derOf(key.publicKey))
  const leaf = leafName(entry)
  await deps.store.put(leafBundleKey(leaf), bytes)
  return { leaf, bytes: entry }
}

/** What is stored under this id, by this process now or by any before. */
async function firstDecision(
  { store, signer, trust }: LedgerWriterDeps,
  name: string,
  signable: Signable,
): Promise<Signed> {
  const stored = await store.get(name)
  if (stored !== undefined) return checkStored(stored, trust)
  const signed = await sign(signer, trust, signable)
  const first = await putFirst(store, name, signed.bytes)
  return first === signed.bytes ? signed : checkStored(first, trust)
}

function checkStored(bytes: Uint8Array, trust: TrustRoot): Signed {
  const bundle = parseSignedBundle(bytes)
  return { bytes, bundle, key: verifySignature(bundle, trust) }
}

/** The signer's answer, if it is by the right key about exactly what was asked. */
async function sign(signer: SignerPort, trust: TrustRoot, signable: Signable): Promise<Signed> {
  const bundle = await signer.sign(signable)
  const key = verifySignature(bundle, trust)
  const payload = statementBytes(signable, trust.origin)
  const asked =
    key.role === roleOf[signable.kind] && Buffer.compare(envelopeOf(bundle).payload, payload) === 0
  if (asked) return { bytes: bundleBytes(bundle), bundle, key }
  throw new KilnError('verification_failed', 'the signer signed something else than was asked')
}

/** Whoever was first under this key, its bytes. */
async function putFirst(store: BlobStore, key: string, bytes: Uint8Array): Promise<Uint8Array> {
  try {
    await store.put(key, bytes)
    return bytes
  } catch (error) {
    const first = isOtherBytes(error) ? await store.get(key) : undefined
    if (first === undefined) throw error
    return first
  }
}

function isOtherBytes(error: unknown): boolean {
  return error instanceof KilnError && error.code === 'digest_mismatch'
}

/** The fact as any other process would read it now: from the store, every check made. */
async function readBack(
  reader: LedgerReader,
  { leaf, index }: { leaf: Leaf; index: number },
): Promise<Fact> {
  await reader.refresh()
  const fact = reader.factOf(leaf)
  if (fact?.index === index) return fact
  throw new KilnError('verification_failed', `what was logged at ${index} does not read back`, {
    place: leafBundleKey(leaf),
  })
}

async function publish(
  store: BlobStore,
  reader: LedgerReader,
  leaf: Leaf,
): Promise<{ key: string; bytes: Uint8Array }> {
  const key = `bundles/published/${leaf}`
  const bytes =
    (await store.get(key)) ?? (await putFirst(store, key, bundleBytes(await reader.bundleOf(leaf))))
  return { key, bytes }
}
