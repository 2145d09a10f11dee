import { createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decideCheckpoint, type CheckpointState } from '../../signing/checkpoint-state.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { fileOf, trustRootOf, type SignerKeys } from '../../signing/keys.ts'
import { signPayload } from '../../signing/sign.ts'
import { openSigner, type SignerOptions } from '../../signing/signer.ts'
import type { SignerClient } from '../../signing/signer-client.ts'
import { buildStatement, statementBytes } from '../../signing/statements.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import { toBase64 } from '../../signing/base64.ts'
import { diskError } from '../../src/store/disk-error.ts'
import { roleOf } from '../../src/domain/role.ts'
import type { SignerPort } from '../../src/ledger/ledger-writer.ts'
import { memoryKeys } from './signed-log.ts'

export const origin = 'kiln.local'

export type TestSigner = SignerPort & {
  trust: TrustRoot
  keys: SignerKeys
  /** Every checkpoint that was signed, oldest first. */
  notes: string[]
}

/** The signer's rules in this process, nothing on disk. */
export function memorySigner(keys: SignerKeys = memoryKeys()): TestSigner {
  const notes: string[] = []
  let rolesAt = -1
  let state: CheckpointState = { origin, last: null }
  return {
    trust: trustRootOf(keys, origin),
    keys,
    notes,
    sign: (signable) =>
      signPayload(statementBytes(signable, origin), keys.roles[roleOf[signable.kind]]),
    lastCheckpoint: async () => state.last,
    rolesAt: async () => rolesAt,
    async takeRoles(bundle) {
      rolesAt = Number(bundle.verificationMaterial.tlogEntries[0].logIndex)
    },
    async checkpoint(request) {
      const decision = decideCheckpoint(state, request)
      if (decision.kind === 'refused') return { ...decision, last: state.last }
      if (decision.kind === 'repeat') return { kind: 'signed', note: decision.note }
      const note = signCheckpoint(decision.checkpoint, keys.log)
      const { size, root } = decision.checkpoint
      state = { origin, last: { size, root: toBase64(root), note } }
      notes.push(note)
      return { kind: 'signed', note }
    },
  }
}

export type FolderSigner = SignerPort & {
  /** The log's key never changes; read when it is asked for. */
  readonly keys: Pick<SignerKeys, 'log'>
  readonly trust: TrustRoot
  nextKey: SignerClient['nextKey']
  keyPlaces: SignerClient['keyPlaces']
}

/** Tests own their folders alone. */
const lock = async () => ({ release: () => {} })
const now = () => new Date()

/** The signer over a folder of keys, as its own process would be: it survives this one. */
export async function folderSigner(
  directory: string,
  options: Pick<SignerOptions, 'crashPoint' | 'access'> = {},
): Promise<FolderSigner> {
  const signer = await openSigner({ directory, origin, lock, now, diskError, ...options })
  return {
    get keys() {
      return { log: createPrivateKey(readFileSync(join(directory, fileOf('log')))) }
    },
    get trust() {
      return signer.history().trust
    },
    async sign(signable) {
      const statement = buildStatement(signable, origin)
      return (await signer.sign({ kind: signable.kind, statement })).bundle
    },
    lastCheckpoint: async () => signer.lastCheckpoint(),
    checkpoint: async (request) => signer.checkpoint(request),
    rolesAt: async () => signer.history().at,
    takeRoles: async (bundle) => void (await signer.takeRoles(bundle)),
    keyPlaces: async () => new Map(signer.places().map((key) => [key.keyHint, key.place])),
    nextKey: async (role, kms) => derOf((await signer.nextKey({ role, kms })).publicKey),
  }
}
