import { decideCheckpoint, type CheckpointState } from '../../signing/checkpoint-state.ts'
import { openCheckpointSigner } from '../../signing/checkpoint-signer.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { openKeys, trustRootOf, type SignerKeys } from '../../signing/keys.ts'
import { signPayload } from '../../signing/sign.ts'
import { statementBytes } from '../../signing/statements.ts'
import type { TrustRoot } from '../../signing/trust.ts'
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
  let state: CheckpointState = { origin, last: null }
  return {
    trust: trustRootOf(keys, origin),
    keys,
    notes,
    sign: (signable) =>
      signPayload(statementBytes(signable, origin), keys.roles[roleOf[signable.kind]]),
    lastCheckpoint: async () => state.last,
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

/** The signer over a folder of keys, as its own process would be: it survives this one. */
export async function folderSigner(directory: string): Promise<Omit<TestSigner, 'notes'>> {
  const keys = await openKeys(directory, origin)
  const signer = openCheckpointSigner({ directory, origin, logKey: keys.log, diskError })
  return {
    trust: trustRootOf(keys, origin),
    keys,
    sign: (signable) =>
      signPayload(statementBytes(signable, origin), keys.roles[roleOf[signable.kind]]),
    lastCheckpoint: async () => signer.last(),
    checkpoint: async (request) => signer.sign(request),
  }
}
