import { verify } from 'node:crypto'
import { KilnError } from '../src/domain/error.ts'
import type { Digest } from '../src/domain/digest.ts'
import { roleOf, type Role } from '../src/domain/role.ts'
import type { Fact, FactKind, Leaf } from '../src/domain/statement.ts'
import { toBase64 } from './base64.ts'
import {
  checkLoggedBundle,
  envelopeOf,
  type BundleEntry,
  type LoggedBundle,
  type SignedBundle,
} from './bundle.ts'
import { logId, verifyCheckpoint, type Checkpoint } from './checkpoint.ts'
import { preAuthEncoding } from './dsse.ts'
import { leafName, leafOfEnvelope } from './leaf.ts'
import { leafHash, verifyInclusion } from './merkle.ts'
import { publicKeyOf } from './public-key.ts'
import { checkWithSigstore } from './sigstore.ts'
import type { Signable } from './statement.ts'
import { artifactOf, factOf, parseStatement } from './statements.ts'
import { derOf, isValidAt, roleKeyOf, type RoleKey, type TrustRoot } from './trust.ts'

/** What the caller asked for. A statement of another kind, role or artifact does not pass, however well it is signed. */
export type Wanted = { kind: FactKind; subject?: Digest } | { role: Role; subject?: Digest }

export type VerifiedBundle = {
  bundle: LoggedBundle
  signable: Signable
  fact: Fact
  role: Role
  key: RoleKey
  leaf: Leaf
  index: number
  /** The signed head that the inclusion proof leads to. */
  checkpoint: Checkpoint
}

function no(place: string, message: string): KilnError {
  return new KilnError('verification_failed', message, { place })
}

/**
 * The one check of a published bundle: pure, offline, all or nothing. Every field is bound to the
 * others; throws `verification_failed` with the failed part in `place`.
 */
export function verifyBundle(bundle: unknown, trust: TrustRoot, wanted: Wanted): VerifiedBundle {
  const logged = checkLoggedBundle(bundle)
  const key = verifySignature(logged, trust)
  const signable = verifyRole(logged, trust, key)
  const place = verifyLogEntry(logged, trust, key)
  checkWanted(signable, wanted)
  checkWithSigstore(logged, trust)
  const { leaf, index } = place
  return {
    bundle: logged,
    signable,
    fact: factOf(signable, { leaf, index }),
    role: key.role,
    key,
    ...place,
  }
}

/** That the key which the hint names signed the envelope. The bundle may lack its log entry. */
export function verifySignature(bundle: SignedBundle | LoggedBundle, trust: TrustRoot): RoleKey {
  const { hint } = bundle.verificationMaterial.publicKey
  const key = roleKeyOf(trust, hint)
  if (key === null) throw no('signature', `no trusted key has the hint ${hint}`)
  const { payloadType, payload, signature } = envelopeOf(bundle)
  const signed = preAuthEncoding(payloadType, payload)
  if (!verify('sha256', signed, publicKeyOf(derOf(key.publicKey)), signature)) {
    throw no('signature', `the signature is not by the ${key.role} key`)
  }
  return key
}

/** That the statement is whole, and of a kind that its signer's role may sign. */
export function verifyRole(
  bundle: SignedBundle | LoggedBundle,
  trust: TrustRoot,
  key: RoleKey,
): Signable {
  const signable = parseStatement(envelopeOf(bundle).payload, trust.origin)
  if (roleOf[signable.kind] !== key.role) {
    throw no('role', `the ${key.role} role may not sign a ${signable.kind} statement`)
  }
  return signable
}

/** That exactly this signature stands in the log, at an index at which the key was valid. */
export function verifyLogEntry(
  bundle: LoggedBundle,
  trust: TrustRoot,
  key: RoleKey,
): { leaf: Leaf; index: number; checkpoint: Checkpoint } {
  const [entry] = bundle.verificationMaterial.tlogEntries
  const leaf = leafOfEnvelope(envelopeOf(bundle), derOf(key.publicKey))
  if (entry.canonicalizedBody !== toBase64(leaf)) {
    throw no('inclusion', 'the log entry is not about this signature')
  }
  const checkpoint = verifyEntryCheckpoint(entry, trust)
  const index = Number(entry.logIndex)
  const included = verifyInclusion({
    leafHash: leafHash(leaf),
    index,
    size: checkpoint.size,
    proof: entry.inclusionProof.hashes.map(derOf),
    root: checkpoint.root,
  })
  if (!included) throw no('inclusion', `the entry is not in the log at index ${index}`)
  if (!isValidAt(key, index)) {
    throw no('inclusion', `the ${key.role} key was not valid at index ${index}`)
  }
  return { leaf: leafName(leaf), index, checkpoint }
}

/** What the entry says twice must be the same, and what the log's key signed. */
function verifyEntryCheckpoint(entry: BundleEntry, trust: TrustRoot): Checkpoint {
  const logKey = publicKeyOf(derOf(trust.logKey))
  const proof = entry.inclusionProof
  const checkpoint = verifyCheckpoint(proof.checkpoint.envelope, {
    origin: trust.origin,
    publicKey: logKey,
  })
  if (entry.logId.keyId !== toBase64(logId(trust.origin, logKey))) {
    throw no('inclusion', 'the entry is of another log')
  }
  const agrees =
    proof.logIndex === entry.logIndex &&
    proof.treeSize === String(checkpoint.size) &&
    proof.rootHash === toBase64(checkpoint.root)
  if (!agrees) throw no('inclusion', 'the inclusion proof and its checkpoint disagree')
  return checkpoint
}

function checkWanted(signable: Signable, wanted: Wanted): void {
  if ('kind' in wanted && signable.kind !== wanted.kind) {
    throw no('kind', `this is a ${signable.kind} statement, wanted ${wanted.kind}`)
  }
  if ('role' in wanted && roleOf[signable.kind] !== wanted.role) {
    throw no('role', `this is by the ${roleOf[signable.kind]} role, wanted ${wanted.role}`)
  }
  if (wanted.subject !== undefined && artifactOf(signable) !== wanted.subject) {
    throw no('subject', `this is about ${artifactOf(signable)}, wanted ${wanted.subject}`)
  }
}
