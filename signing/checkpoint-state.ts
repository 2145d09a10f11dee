import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { isOrigin, type Checkpoint } from './checkpoint.ts'
import { emptyRoot, hashSize, verifyConsistency } from './merkle.ts'

/**
 * What the signer remembers of the log, so that no two checkpoints it ever signed can contradict each
 * other (I3). Whoever appends finishes `last` first, when the stored head is behind it.
 */
export const stateFile = 'checkpoint-state.json'

const root = z.string().refine((text) => fromBase64(text)?.length === hashSize, 'not a hash')
const size = z.int().nonnegative()

export const signedCheckpointSchema = z.strictObject({ size, root, note: z.string() })

const stateSchema = z.strictObject({
  version: z.literal(1),
  origin: z.string().refine(isOrigin),
  last: signedCheckpointSchema.nullable(),
})

/** A checkpoint that was signed; `root` is base64. */
export type SignedCheckpoint = z.infer<typeof signedCheckpointSchema>

export type CheckpointState = { origin: string; last: SignedCheckpoint | null }

export const checkpointRequestSchema = z.strictObject({
  origin: z.string().max(253),
  size,
  root,
  /** Consistency proof from the last signed size, base64; empty when that is 0 or the same. */
  proof: z.array(root).max(130),
})

export type CheckpointRequest = z.infer<typeof checkpointRequestSchema>

export type CheckpointDecision =
  | { kind: 'sign'; checkpoint: Checkpoint }
  | { kind: 'repeat'; note: string }
  | { kind: 'refused'; message: string }

/** Signs only what provably extends the last signed tree; the same tree again gets the same note. */
export function decideCheckpoint(
  state: CheckpointState,
  request: CheckpointRequest,
): CheckpointDecision {
  if (request.origin !== state.origin) {
    return { kind: 'refused', message: `this signer signs for ${state.origin} only` }
  }
  const { last } = state
  if (last !== null && last.size === request.size && last.root === request.root) {
    return { kind: 'repeat', note: last.note }
  }
  const seen = last ?? { size: 0, root: toBase64(emptyRoot()) }
  const to = { size: request.size, root: Buffer.from(request.root, 'base64') }
  const extendsLast = verifyConsistency({
    from: { size: seen.size, root: Buffer.from(seen.root, 'base64') },
    to,
    proof: request.proof.map((hash) => Buffer.from(hash, 'base64')),
  })
  return extendsLast
    ? { kind: 'sign', checkpoint: { origin: request.origin, ...to } }
    : {
        kind: 'refused',
        message: `the tree does not extend the last signed one of ${seen.size} entries`,
      }
}

export function encodeState({ origin, last }: CheckpointState): string {
  return `${JSON.stringify({ version: 1, origin, last })}\n`
}

/** Throws `ledger_corrupt`: a signer that has forgotten what it signed must not sign. */
export function decodeState(text: string): CheckpointState {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  const parsed = stateSchema.safeParse(json)
  if (!parsed.success) {
    throw new KilnError('ledger_corrupt', 'the record of the last signed checkpoint is unreadable')
  }
  return { origin: parsed.data.origin, last: parsed.data.last }
}
