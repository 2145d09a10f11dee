import { generateKeyPairSync } from 'node:crypto'
import { roleOf, roles, type Role } from '../../src/domain/role.ts'
import {
  attachLogEntry,
  envelopeOf,
  type LoggedBundle,
  type SignedBundle,
} from '../../signing/bundle.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { roleKeyFrom, trustRootOf, type SignerKeys } from '../../signing/keys.ts'
import { leafOfEnvelope } from '../../signing/leaf.ts'
import { leafHash, rootOf } from '../../signing/merkle.ts'
import { withNextKey } from '../../signing/role-history.ts'
import { signPayload } from '../../signing/sign.ts'
import { localKey, type SigningKey } from '../../signing/signing-key.ts'
import type { Signable } from '../../signing/statement.ts'
import { statementBytes } from '../../signing/statements.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import { naiveInclusion } from './naive-tree.ts'

export function p256(): SigningKey {
  return localKey(generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey)
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
  readonly trust: TrustRoot
  readonly keys: SignerKeys
  /** Signs by the kind's role (or by another, or a key of one's own, to be wicked), appends, and gives the bundle against the tree of now. */
  add: (signable: Signable, by?: Role | SigningKey) => Promise<LoggedBundle>
  /** As `add`, of any payload. */
  addPayload: (payload: Uint8Array, by: Role | SigningKey) => Promise<LoggedBundle>
  /** The entry at an index, with a proof against the tree of now. */
  bundleAt: (index: number) => LoggedBundle
  size: () => number
  /** Logs the list in which a new key follows the role's; gives the old one. */
  rotate: (role: Role) => Promise<SigningKey>
  /** Logs a list of roles, signed by the root that holds, and goes by it. */
  setTrust: (list: TrustRoot) => Promise<void>
}

export function signedLog(origin = 'kiln.local', keys = memoryKeys()): SignedLog {
  let trust = trustRootOf(keys, origin)
  let own = keys
  const entries: { bundle: SignedBundle; key: SigningKey }[] = []
  const leaves: Uint8Array[] = []
  const bundleAt = (index: number): LoggedBundle => {
    const { bundle, key } = entries[index]!
    const checkpoint = { origin, size: leaves.length, root: rootOf(leaves) }
    return attachLogEntry(bundle, {
      index,
      proof: naiveInclusion(leaves, index),
      checkpoint: signCheckpoint(checkpoint, own.log),
      roleKey: key.publicKey,
      logKey: derOf(trust.logKey),
    })
  }
  const addPayload = async (payload: Uint8Array, by: Role | SigningKey) => {
    const key = typeof by === 'string' ? own.roles[by] : by
    const bundle = await signPayload(payload, key)
    entries.push({ bundle, key })
    leaves.push(leafHash(leafOfEnvelope(envelopeOf(bundle), key.publicKey)))
    return bundleAt(entries.length - 1)
  }
  const add: SignedLog['add'] = (signable, by = roleOf[signable.kind]) =>
    addPayload(statementBytes(signable, origin), by)
  async function setTrust(list: TrustRoot): Promise<void> {
    await add({ kind: 'roles', time: '2026-01-01T00:00:00Z', trust: list })
    trust = list
  }
  return {
    get trust() {
      return trust
    },
    get keys() {
      return own
    },
    add,
    addPayload,
    bundleAt,
    size: () => leaves.length,
    setTrust,
    async rotate(role) {
      const [old, next, at] = [own.roles[role], p256(), leaves.length]
      const list = withNextKey(trust, roleKeyFrom(role, next.publicKey, at + 1), at)
      await setTrust(list)
      own = { ...own, roles: { ...own.roles, [role]: next } }
      return old
    },
  }
}
