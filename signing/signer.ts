import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { keyArn } from '../src/domain/key-arn.ts'
import { roleOf, roles } from '../src/domain/role.ts'
import type { FactKind } from '../src/domain/statement.ts'
import { toBase64 } from './base64.ts'
import type { SignedBundle } from './bundle.ts'
import { canonicalJson, digestOfJson } from './canonical.ts'
import { openCheckpointSigner, type CheckpointAnswer } from './checkpoint-signer.ts'
import { checkpointRequestSchema, type SignedCheckpoint } from './checkpoint-state.ts'
import { freshnessBytes, freshnessSchema } from './freshness.ts'
import { openKeyFolder, type KeyFolder } from './key-folder.ts'
import { inTheClear, type KeyAccess } from './keys.ts'
import { keyHintOf } from './public-key.ts'
import { demandNext, takeRoles, type RoleHistory } from './role-history.ts'
import { signPayload } from './sign.ts'
import { checkPart, type Signable } from './statement.ts'
import { artifactOf, parseStatement } from './statements.ts'
import type { TrustRoot } from './trust.ts'
import { verifyBundle } from './verify.ts'

const kinds = Object.keys(roleOf) as [FactKind, ...FactKind[]]

const signRequestSchema = z.strictObject({ kind: z.enum(kinds), statement: z.json() })

/** What was signed, for the signer's own log: never keys, never the statement's text. */
type SignedNotice = { kind: FactKind; role: string; artifact: string | null }

/** Everything that private keys do. Requests are whatever came over the socket. */
export type Signer = {
  history: () => RoleHistory
  /** Throws `verification_failed` (not a statement of that kind), `refused` or `invalid_input`. */
  sign: (request: unknown) => Promise<{ bundle: SignedBundle; notice: SignedNotice }>
  /** Throws `verification_failed` on a request of another form. */
  checkpoint: (request: unknown) => CheckpointAnswer
  /** Says that the log is so now. Throws `refused` on another time or checkpoint, `verification_failed` on another form. */
  freshness: (request: unknown) => Promise<SignedBundle>
  lastCheckpoint: () => SignedCheckpoint | null
  /** The public half of the key that shall follow a role's: SPKI, DER, base64. Asked again, the same. */
  nextKey: (request: unknown) => Promise<{ publicKey: string }>
  /** Where the private halves of the roles' keys are. */
  places: KeyFolder['places']
  /** Takes a list of roles from the log, with its proof; one that is known already changes nothing. */
  takeRoles: (bundle: unknown) => Promise<RoleHistory>
  close: () => void
}

export type SignerOptions = {
  /** The keys folder; made on the first start. */
  directory: string
  origin: string
  /** How the key files are opened; left out: they are not encrypted, and none is in a KMS. */
  access?: KeyAccess
  /** Makes this process the folder's one owner: two signers could sign two trees. */
  lock: (folder: string) => Promise<{ release: () => void }>
  now: () => Date
  /** Hears the list of roles before the signer answers, and whenever the log has another. */
  onRoles?: (trust: TrustRoot) => Promise<void>
  /** Named places at which tests kill the process. */
  crashPoint?: (name: string) => void
  /** What to throw when the disk refuses the record of what was signed; without it the error as it was. */
  diskError?: (error: unknown, path: string) => unknown
}

const nextKeySchema = z.strictObject({
  role: z.enum(roles),
  kms: z.string().regex(keyArn).nullable(),
})

export async function openSigner(options: SignerOptions): Promise<Signer> {
  const { directory, origin, lock, onRoles = async () => {} } = options
  const { access = inTheClear, crashPoint = () => undefined } = options
  const keys = await openKeyFolder({ directory, origin, access, crashPoint })
  const owned = await lock(directory)
  try {
    const checkpoints = openCheckpointSigner({ ...options, logKey: keys.log })
    await onRoles(keys.history().trust)
    const inTurn = oneByOne()
    return {
      history: keys.history,
      places: keys.places,
      async sign(request) {
        const { kind, payload, signable } = checkRequest(request, origin)
        if (signable.kind === 'roles') {
          demandMayFollow(keys, signable.trust, checkpoints.last()?.size ?? 0)
        }
        const role = roleOf[kind]
        const bundle = await signPayload(payload, keys.keyOf(role))
        crashPoint('signer.signed')
        return { bundle, notice: { kind, role, artifact: artifactOf(signable) } }
      },
      checkpoint: (request) =>
        checkpoints.sign(checkPart(checkpointRequestSchema, request, 'checkpoint')),
      async freshness(request) {
        const known = { now: options.now(), last: checkpoints.last(), origin }
        return signPayload(checkFreshness(request, known), keys.keyOf('record'))
      },
      lastCheckpoint: () => checkpoints.last(),
      async nextKey(request) {
        const { role, kms } = checkPart(nextKeySchema, request, 'request')
        const { publicKey } = await inTurn(() => keys.next(role, kms))
        return { publicKey: toBase64(publicKey) }
      },
      takeRoles: (bundle) =>
        inTurn(async () => {
          const next = historyWith(keys.history(), bundle)
          if (next !== null) {
            await keys.settle(next)
            await onRoles(next.trust)
          }
          return keys.history()
        }),
      close: () => owned.release(),
    }
  } catch (error) {
    owned.release()
    throw error
  }
}

/** What changes the folder of keys happens one after the other. */
function oneByOne(): <T>(run: () => Promise<T>) => Promise<T> {
  let before: Promise<unknown> = Promise.resolve()
  return (run) => {
    const mine = before.then(run)
    before = mine.catch(() => undefined)
    return mine
  }
}

/** Null when the bundle is about a list that is known. Throws `verification_failed` on anything that is not the log's next list. */
function historyWith(history: RoleHistory, bundle: unknown): RoleHistory | null {
  const { signable, index, key } = verifyBundle(bundle, history.trust, { kind: 'roles' })
  if (index <= history.at || signable.kind !== 'roles') return null
  return takeRoles(history, { trust: signable.trust, by: key, index })
}

/** A statement is signed only when it is, byte for byte, one of its kind: the role's key says nothing else. */
function checkRequest(
  request: unknown,
  origin: string,
): { kind: FactKind; payload: Uint8Array; signable: Signable } {
  const { kind, statement } = checkPart(signRequestSchema, request, 'request')
  const payload = canonicalJson(statement)
  const signable = parseStatement(payload, origin)
  if (signable.kind === kind) return { kind, payload, signable }
  throw new KilnError('refused', `asked to sign a ${kind} statement, given a ${signable.kind}`)
}

/**
 * Who may sign what is not for a caller to say: the root key signs the list that holds, or one that may
 * follow it at an index that no tree has yet, with no new key but those that wait here.
 */
function demandMayFollow(keys: KeyFolder, said: TrustRoot, signedSize: number): void {
  const { trust, at } = keys.history()
  if (digestOfJson(said) === digestOfJson(trust)) return
  const added = said.roles.slice(trust.roles.length)
  const index = (added[0]?.validFrom ?? Math.max(signedSize, at + 1) + 1) - 1
  try {
    demandNext(trust, said, index)
  } catch (error) {
    throw new KilnError('refused', `the list of roles may not become this: ${messageOf(error)}`, {
      cause: error,
    })
  }
  const own = added.every(({ role, keyHint }) => {
    const key = keys.waiting(role)
    return key !== undefined && keyHintOf(key.publicKey) === keyHint
  })
  if (!own || index < signedSize) {
    throw new KilnError('refused', 'the statement names other keys than this signer has')
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown'
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
