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
import { derOf, isValidAt, roleKeyOf, type RoleKey, type TrustRoot } from '../../signing/trust.ts'
import { verifyBundle, verifySignature, type Wanted } from '../../signing/verify.ts'
import { KilnError } from '../domain/error.ts'
import type { Digest } from '../domain/digest.ts'
import { roleOf } from '../domain/role.ts'
import type { Fact, FactKind, Leaf } from '../domain/statement.ts'
import type { BlobStore, HeadStore } from '../store/blob-store.ts'
import { openAppender, type Appender } from './appender.ts'
import {
  changeRoles,
  tellRoles,
  type NextRoles,
  type RoleSteps,
  type RolesSigner,
} from './change-roles.ts'
import type { CheckpointPort } from './append-steps.ts'
import { leafBundleKey } from './entry.ts'
import { checkEntry } from './foreign-entry.ts'
import { createGate } from './gate.ts'
import { openLedgerReader, type LedgerReader } from './ledger-reader.ts'

/** What signs, in its own process: statements by their role's key, and checkpoints. */
export type SignerPort = CheckpointPort &
  RolesSigner & { sign(signable: Signable): Promise<SignedBundle> }

export type LedgerWriterDeps = {
  store: BlobStore
  head: HeadStore
  signer: SignerPort
  /** What is known beforehand, as for a reader. */
  trust: TrustRoot
  root?: string
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
  /** Logs another list of roles, alone: no decision is signed or logged meanwhile. `next` is asked until it says null. */
  changeRoles(next: NextRoles): Promise<void>
  /** Tells the signer of lists of roles in the log that it has not heard of: it, or a server, died in between. */
  tellSigner(): Promise<void>
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
const conditional: ReadonlySet<FactKind> = new Set([
  'change',
  'key',
  'activation',
  'release',
  'break-glass',
])

export function openLedger(deps: LedgerWriterDeps): LedgerWriter {
  const { signer, crashPoint = () => {} } = deps
  const appender = openAppender({ ...deps, crashPoint })
  const reader = openLedgerReader(deps)
  const deciding = { ...deps, crashPoint, reader, appender }
  // A key must not change its range between a signature and its place in the log.
  const gate = createGate()

  return {
    ...reader,
    complete: appender.complete,
    decide: ({ id, signable }) =>
      gate.shared(async () => {
        const decided = await logDecision(deciding, id, signable)
        const { leaf, fact } = decided
        if (conditional.has(fact.kind) && reader.ledger().void.has(leaf)) {
          throw new KilnError('lost_race', `this ${fact.kind} came too late: another was first`)
        }
        return decided
      }),
    changeRoles: (next) => gate.alone(() => changeRoles(roleSteps(deciding), next)),
    tellSigner: () =>
      gate.alone(async () => {
        await reader.refresh()
        await tellRoles(reader, signer)
      }),
    // No list of roles is being logged meanwhile: it names its own place.
    logForeign: (content, allowed) =>
      gate.shared(async () => {
        await reader.refresh()
        const { leaf, by } = checkEntry(content, { trust: reader.trust(), allowed })
        const index =
          by === 'foreign' ? await appender.append(leaf) : await knownIndex(reader, leaf)
        await reader.refresh()
        return reader.entryOf(leaf, index)
      }),
    async publishedBundle(leaf) {
      const published = await publish(deps.store, reader, leaf)
      crashPoint('ledger.published')
      return published
    },
    async verify(leaf, { kind, artifact }) {
      const wanted: Wanted = artifact === null ? { kind } : { kind, subject: artifact }
      const { bytes } = await publish(deps.store, reader, leaf)
      verifyBundle(parseLoggedBundle(bytes), reader.trust(), wanted)
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
type Deciding = LedgerWriterDeps & {
  crashPoint: (name: string) => void
  reader: LedgerReader
  appender: Appender
}

async function logDecision(deps: Deciding, id: string, signable: Signable): Promise<Decided> {
  for (;;) {
    const { leaf, bytes, key } = await storeBundle(deps, id, signable)
    deps.crashPoint('ledger.bundle-stored')
    const index = await deps.appender.append(bytes)
    const fact = await readBack(deps.reader, { leaf, index, key })
    // Another server may end a key's range between the signature and the log: what counts is signed anew.
    if (fact !== null) return { leaf, index, fact }
  }
}

function roleSteps(deps: Deciding): RoleSteps {
  const { reader, appender, signer } = deps
  return {
    reader,
    signer,
    now: () => new Date(),
    async append(id, signable, at) {
      const { leaf, bytes, key } = await storeBundle(deps, id, signable)
      const index = await appender.appendAt(bytes, at)
      if (index !== null) await readBack(reader, { leaf, index, key })
      return index
    },
  }
}

/**
 * The decision's bundle, durable under its id and its leaf before anyone logs it. ECDSA is randomised:
 * signing again would give another leaf, so a repetition takes the bundle that is there. One that was
 * signed and not logged before its key's range ended can never count: it is signed anew under a further
 * name, by the key that holds now.
 */
async function storeBundle(
  deps: Deciding,
  id: string,
  signable: Signable,
): Promise<{ leaf: Leaf; bytes: Uint8Array; key: RoleKey }> {
  for (let turn = 0; ; turn += 1) {
    const { bytes, bundle, key } = await firstDecision(deps, decisionKey(id, turn), signable)
    deps.crashPoint('ledger.decision-stored')
    const entry = leafOfEnvelope(envelopeOf(bundle), derOf(key.publicKey))
    const leaf = leafName(entry)
    if (key.validTo !== null && deps.reader.factOf(leaf) === undefined) continue
    await deps.store.put(leafBundleKey(leaf), bytes)
    return { leaf, bytes: entry, key }
  }
}

function decisionKey(id: string, turn: number): string {
  const name = turn === 0 ? id : JSON.stringify([id, turn])
  return `bundles/decision/${createHash('sha256').update(name).digest('hex')}`
}

/** What is stored under this key, by this process now or by any before. */
async function firstDecision(
  { store, signer, reader }: Deciding,
  key: string,
  signable: Signable,
): Promise<Signed> {
  const stored = await store.get(key)
  if (stored !== undefined) return checkStored(stored, reader)
  const signed = await sign(signer, reader, signable)
  const first = await putFirst(store, key, signed.bytes)
  return first === signed.bytes ? signed : checkStored(first, reader)
}

async function checkStored(bytes: Uint8Array, reader: LedgerReader): Promise<Signed> {
  const bundle = parseSignedBundle(bytes)
  return { bytes, bundle, key: await signerIn(reader, bundle) }
}

/** Who is not known yet is looked up once more: another server may have logged a list of roles since. */
async function signerIn(reader: LedgerReader, bundle: SignedBundle): Promise<RoleKey> {
  const { hint } = bundle.verificationMaterial.publicKey
  if (roleKeyOf(reader.trust(), hint) === null) await reader.refresh()
  return verifySignature(bundle, reader.trust())
}

/** The signer's answer, if it is by the right key about exactly what was asked. */
async function sign(signer: SignerPort, reader: LedgerReader, signable: Signable): Promise<Signed> {
  let bundle = await signer.sign(signable)
  let key = await signerIn(reader, bundle)
  if (key.validTo !== null) {
    await tellRoles(reader, signer)
    bundle = await signer.sign(signable)
    key = await signerIn(reader, bundle)
  }
  const payload = statementBytes(signable, reader.trust().origin)
  const asked =
    key.role === roleOf[signable.kind] &&
    key.validTo === null &&
    Buffer.compare(envelopeOf(bundle).payload, payload) === 0
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

/**
 * The fact as any other process would read it now: from the store, every check made. Null when its key's
 * range ended before that place in the log.
 */
async function readBack(
  reader: LedgerReader,
  { leaf, index, key }: { leaf: Leaf; index: number; key: RoleKey },
): Promise<Fact | null> {
  await reader.refresh()
  const fact = reader.factOf(leaf)
  if (fact?.index === index) return fact
  const known = roleKeyOf(reader.trust(), key.keyHint)
  if (fact === undefined && known !== null && !isValidAt(known, index)) return null
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
