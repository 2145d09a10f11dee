import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { roleOf } from '../src/domain/role.ts'
import type { FactKind } from '../src/domain/statement.ts'
import { canonicalJson, digestOfJson } from './canonical.ts'
import type { SignedBundle } from './bundle.ts'
import { openCheckpointSigner, type CheckpointAnswer } from './checkpoint-signer.ts'
import { checkpointRequestSchema, type SignedCheckpoint } from './checkpoint-state.ts'
import { freshnessBytes, freshnessSchema } from './freshness.ts'
import { openKeys, trustRootOf } from './keys.ts'
import { signPayload } from './sign.ts'
import { checkPart } from './statement.ts'
import { artifactOf, parseStatement } from './statements.ts'
import type { TrustRoot } from './trust.ts'

const kinds = Object.keys(roleOf) as [FactKind, ...FactKind[]]

const signRequestSchema = z.strictObject({ kind: z.enum(kinds), statement: z.json() })

/** What was signed, for the signer's own log: never keys, never the statement's text. */
type SignedNotice = { kind: FactKind; role: string; artifact: string | null }

/** Everything that private keys do. Requests are whatever came over the socket. */
export type Signer = {
  trust: TrustRoot
  /** Throws `verification_failed` (not a statement of that kind), `refused` or `invalid_input`. */
  sign: (request: unknown) => Promise<{ bundle: SignedBundle; notice: SignedNotice }>
  /** Throws `verification_failed` on a request of another form. */
  checkpoint: (request: unknown) => CheckpointAnswer
  /** Says that the log is so now. Throws `refused` on another time or checkpoint, `verification_failed` on another form. */
  freshness: (request: unknown) => Promise<SignedBundle>
  lastCheckpoint: () => SignedCheckpoint | null
  close: () => void
}

export type SignerOptions = {
  /** The keys folder; made on the first start. */
  directory: string
  origin: string
  /** Makes this process the folder's one owner: two signers could sign two trees. */
  lock: (folder: string) => Promise<{ release: () => void }>
  now: () => Date
  /** Named places at which tests kill the process. */
  crashPoint?: (name: string) => void
  /** What to throw when the disk refuses the record of what was signed; without it the error as it was. */
  diskError?: (error: unknown, path: string) => unknown
}

export async function openSigner(options: SignerOptions): Promise<Signer> {
  const { directory, origin, lock, crashPoint = () => undefined } = options
  const keys = await openKeys(directory, origin)
  const owned = await lock(directory)
  try {
    const trust = trustRootOf(keys, origin)
    const checkpoints = openCheckpointSigner({ ...options, logKey: keys.log })
    return {
      trust,
      async sign(request) {
        const { kind, payload, artifact } = checkRequest(request, trust)
        const role = roleOf[kind]
        const bundle = await signPayload(payload, keys.roles[role])
        crashPoint('signer.signed')
        return { bundle, notice: { kind, role, artifact } }
      },
      checkpoint: (request) =>
        checkpoints.sign(checkPart(checkpointRequestSchema, request, 'checkpoint')),
      async freshness(request) {
        const known = { now: options.now(), last: checkpoints.last(), origin }
        return signPayload(checkFreshness(request, known), keys.roles.record)
      },
      lastCheckpoint: () => checkpoints.last(),
      close: () => owned.release(),
    }
  } catch (error) {
    owned.release()
    throw error
  }
}

/** A statement is signed only when it is, byte for byte, one of its kind: the role's key says nothing else. */
function checkRequest(
  request: unknown,
  trust: TrustRoot,
): { kind: FactKind; payload: Uint8Array; artifact: string | null } {
  const { kind, statement } = checkPart(signRequestSchema, request, 'request')
  const payload = canonicalJson(statement)
  const signable = parseStatement(payload, trust.origin)
  if (signable.kind !== kind) {
    throw new KilnError('refused', `asked to sign a ${kind} statement, given a ${signable.kind}`)
  }
  // Who may sign what is not for a caller to say: the root key speaks of the keys that are here.
  if (signable.kind === 'roles' && digestOfJson(signable.trust) !== digestOfJson(trust)) {
    throw new KilnError('refused', 'the statement names other keys than this signer has')
  }
  return { kind, payload, artifact: artifactOf(signable) }
}

/** How far a caller's clock may be from the signer's: nothing is vouched for beforehand or afterwards. */
const nowMs = 60_000

/** The signer vouches for nothing but the present, and the tree that it signed last. */
function checkFreshness(
  request: unknown,
  { now, last, origin }: { now: Date; last: SignedCheckpoint | null; origin: string },
): Uint8Array {
  const freshness = checkPart(freshnessSchema, request, 'freshness')
  if (Math.abs(now.getTime() - Date.parse(freshness.time)) > nowMs) {
    throw new KilnError('refused', `${freshness.time} is not now`, { place: 'freshness.time' })
  }
  if (freshness.checkpoint !== last?.note) {
    throw new KilnError('refused', 'the checkpoint is not the one that was signed last', {
      place: 'freshness.checkpoint',
    })
  }
  return freshnessBytes(freshness, origin)
}
