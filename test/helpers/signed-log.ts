import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { roleOf, roles, type Role } from '../../src/domain/role.ts'
import {
  attachLogEntry,
  envelopeOf,
  type LoggedBundle,
  type SignedBundle,
} from '../../signing/bundle.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { trustRootOf, type SignerKeys } from '../../signing/keys.ts'
import { leafOfEnvelope } from '../../signing/leaf.ts'
import { leafHash, rootOf } from '../../signing/merkle.ts'
import { signPayload } from '../../signing/sign.ts'
import type { Signable } from '../../signing/statement.ts'
import { statementBytes } from '../../signing/statements.ts'
import { currentKey, derOf, type TrustRoot } from '../../signing/trust.ts'
import { naiveInclusion } from './naive-tree.ts'

function p256(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
}

/** Signing keys in memory, as `openKeys` would make them. */
export function memoryKeys(): SignerKeys {
  return {
    roles: Object.fromEntries(roles.map((role) => [role, p256()])) as SignerKeys['roles'],
    log: generateKeyPairSync('ed25519').privateKey,
  }
}

/** A log in memory: real signatures, real leaves, naive proofs. */
export type SignedLog = {
  trust: TrustRoot
  keys: SignerKeys
  /** Signs by the kind's role (or another, to be wicked), appends, and gives the bundle against the tree of now. */
  add: (signable: Signable, role?: Role) => Promise<LoggedBundle>
  /** As `add`, of any payload. */
  addPayload: (payload: Uint8Array, role: Role) => Promise<LoggedBundle>
  /** The entry at an index, with a proof against the tree of now. */
  bundleAt: (index: number) => LoggedBundle
  size: () => number
}

export function signedLog(origin = 'kiln.local', keys = memoryKeys()): SignedLog {
  const trust = trustRootOf(keys, origin)
  const entries: { bundle: SignedBundle; role: Role }[] = []
  const leaves: Uint8Array[] = []
  const roleKey = (role: Role) => derOf(currentKey(trust, role).publicKey)
  const bundleAt = (index: number): LoggedBundle => {
    const { bundle, role } = entries[index]!
    const checkpoint = { origin, size: leaves.length, root: rootOf(leaves) }
    return attachLogEntry(bundle, {
      index,
      proof: naiveInclusion(leaves, index),
      checkpoint: signCheckpoint(checkpoint, keys.log),
      roleKey: roleKey(role),
      logKey: derOf(trust.logKey),
    })
  }
  const addPayload = async (payload: Uint8Array, role: Role) => {
    const bundle = await signPayload(payload, keys.roles[role])
    entries.push({ bundle, role })
    leaves.push(leafHash(leafOfEnvelope(envelopeOf(bundle), roleKey(role))))
    return bundleAt(entries.length - 1)
  }
  return {
    trust,
    keys,
    add: (signable, role = roleOf[signable.kind]) =>
      addPayload(statementBytes(signable, origin), role),
    addPayload,
    bundleAt,
    size: () => leaves.length,
  }
}
