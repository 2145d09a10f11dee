import { envelopeOf, parseSignedBundle, type SignedBundle } from '../../signing/bundle.ts'
import { leafName, leafOfEnvelope, parseLeaf } from '../../signing/leaf.ts'
import { keyHintOf } from '../../signing/public-key.ts'
import { factOf } from '../../signing/statements.ts'
import type { RoleHistory } from '../../signing/role-history.ts'
import {
  derOf,
  fingerprintOf,
  isValidAt,
  roleKeyOf,
  type RoleKey,
  type TrustRoot,
} from '../../signing/trust.ts'
import { verifyRole, verifySignature } from '../../signing/verify.ts'
import { KilnError } from '../domain/error.ts'
import type { Fact, Leaf } from '../domain/statement.ts'
import type { BlobStore } from '../store/blob-store.ts'

export function leafBundleKey(leaf: Leaf): string {
  return `bundles/leaf/${leaf}`
}

/** One entry of the log whose hash is known to be in the signed tree. */
export type LogEntry = { index: number; bytes: Uint8Array }

/**
 * What an entry says to the fold. `foreign`: not by one of Kiln's keys, other tools may log too.
 * `ignored`: by one of Kiln's keys, but not a statement that this key may make, so it counts for nothing.
 */
export type ReadEntry =
  | { kind: 'fact'; fact: Fact }
  | { kind: 'foreign' }
  | { kind: 'ignored'; reason: string }

/**
 * Reads an entry's bundle from the store and checks it whole: that it is the leaf's, the signature,
 * the role, the key's range, the statement's form. Throws `ledger_corrupt` when the bundle is missing
 * or another one.
 */
export async function readEntry(
  { store, history }: { store: BlobStore; history: RoleHistory },
  entry: LogEntry,
): Promise<ReadEntry> {
  const { trust } = history
  const key = signerOf(entry, trust)
  if (key === null) return { kind: 'foreign' }
  const leaf = leafName(entry.bytes)
  const { bundle } = await readLeafBundle({ store, trust }, leaf)
  return checkEntry({ bundle, key, entry, leaf }, history)
}

/** Null for entries of other kinds and by other keys. */
export function signerOf(entry: LogEntry, trust: TrustRoot): RoleKey | null {
  try {
    return roleKeyOf(trust, keyHintOf(parseLeaf(entry.bytes).publicKey))
  } catch {
    return null
  }
}

/** Throws `verification_failed` when the key's range does not hold the index. */
export function validSigner(key: RoleKey, index: number): RoleKey {
  if (isValidAt(key, index)) return key
  throw new KilnError(
    'verification_failed',
    `the ${key.role} key ${fingerprintOf(key)} was not valid at index ${index}`,
  )
}

function checkEntry(
  found: { bundle: SignedBundle; key: RoleKey; entry: LogEntry; leaf: Leaf },
  { trust, counted }: RoleHistory,
): ReadEntry {
  const { bundle, key, entry, leaf } = found
  const { index } = entry
  try {
    const signable = verifyRole(bundle, trust, validSigner(key, index))
    if (signable.kind === 'roles' && !counted.includes(index)) {
      return { kind: 'ignored', reason: 'this list of roles may not follow the one before' }
    }
    return { kind: 'fact', fact: factOf(signable, { leaf, index }) }
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'verification_failed') throw error
    return { kind: 'ignored', reason: error.message }
  }
}

/** The bundle that lies under a leaf's name, whole, well signed and that leaf's. Throws `ledger_corrupt`. */
export async function readLeafBundle(
  { store, trust }: { store: BlobStore; trust: TrustRoot },
  leaf: Leaf,
): Promise<{ bundle: SignedBundle; key: RoleKey }> {
  const bytes = await store.get(leafBundleKey(leaf))
  if (bytes === undefined) throw corrupt(leaf, 'the bundle is missing')
  try {
    const bundle = parseSignedBundle(bytes)
    const key = verifySignature(bundle, trust)
    // The leaf's name is a hash over what was signed, the signature and the key.
    const own = leafName(leafOfEnvelope(envelopeOf(bundle), derOf(key.publicKey)))
    if (own === leaf) return { bundle, key }
  } catch (error) {
    throw corrupt(leaf, 'the bundle is damaged', error)
  }
  throw corrupt(leaf, "the bundle is another leaf's")
}

function corrupt(leaf: Leaf, what: string, cause?: unknown): KilnError {
  return new KilnError('ledger_corrupt', `${leafBundleKey(leaf)}: ${what}`, {
    place: leafBundleKey(leaf),
    fix: 'kiln fsck lists everything that is wrong; restore the store from its backup',
    cause,
  })
}
