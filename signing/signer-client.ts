import { request } from 'node:http'
import { z } from 'zod'
import { isErrorCode, KilnError } from '../src/domain/error.ts'
import type { Role } from '../src/domain/role.ts'
import { checkSignedBundle, type LoggedBundle, type SignedBundle } from './bundle.ts'
import type { CheckpointAnswer } from './checkpoint-signer.ts'
import {
  signedCheckpointSchema,
  type CheckpointRequest,
  type SignedCheckpoint,
} from './checkpoint-state.ts'
import type { Freshness } from './freshness.ts'
import { placedKeySchema, type KeyPlace } from './signing-key.ts'
import { maxRequestBytes, type Signable } from './statement.ts'
import { buildStatement } from './statements.ts'
import { derOf } from './trust.ts'

/**
 * The signer, from another process. Every call throws `signer_unavailable` (retryable) when it cannot
 * be reached or does not answer in time; whether it then signed is not known, and asking again is safe:
 * a statement that nobody stored is nothing, and the same checkpoint gives the same note.
 */
export type SignerClient = {
  /** The bundle without a log entry. Throws `verification_failed` or `refused` when the signer says no. */
  sign: (signable: Signable) => Promise<SignedBundle>
  checkpoint: (request: CheckpointRequest) => Promise<CheckpointAnswer>
  /** Says that the log is so now. Throws `refused` when another checkpoint was signed meanwhile. */
  freshness: (freshness: Freshness) => Promise<SignedBundle>
  lastCheckpoint: () => Promise<SignedCheckpoint | null>
  /** Log index of the last list of roles that the signer knows of; -1 before the first. */
  rolesAt: () => Promise<number>
  /** Tells the signer of a list of roles in the log, in log order; from then on it signs by it. */
  takeRoles: (bundle: LoggedBundle) => Promise<void>
  /**
   * The public half (SPKI, DER) of the key that shall follow a role's, made when there is none; asked again, the
   * same. `kms`: the ARN of the key in AWS's KMS that shall be it.
   */
  nextKey: (role: Role, kms: string | null) => Promise<Uint8Array>
  /** Where the private halves of the roles' keys are, by the hint of the public one. */
  keyPlaces: () => Promise<ReadonlyMap<string, KeyPlace>>
  /** Resolves when the signer answers and signs for this origin. */
  health: () => Promise<void>
}

export type SignerAddress = { socket: string; origin: string; timeoutMs: number }

const maxAnswerBytes = 8 * 1024 * 1024

const answerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('signed'), note: z.string() }),
  z.strictObject({
    kind: z.literal('refused'),
    message: z.string(),
    last: signedCheckpointSchema.nullable(),
  }),
])
const stateSchema = z.strictObject({ last: signedCheckpointSchema.nullable() })
const healthSchema = z.strictObject({ status: z.literal('ok'), origin: z.string() })
const rolesSchema = z.object({ at: z.int() })
const placesSchema = z.array(placedKeySchema)
const nextSchema = z.strictObject({ publicKey: z.base64() })
const errorSchema = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    place: z.string().nullable(),
    fix: z.string().nullable(),
  }),
})

export function signerClient(address: SignerAddress): SignerClient {
  const { origin } = address
  return {
    async sign(signable) {
      const statement = buildStatement(signable, origin)
      const body = { kind: signable.kind, statement }
      return checkSignedBundle(await call(address, 'POST /sign', body))
    },
    async checkpoint(asked) {
      return understood(answerSchema, await call(address, 'POST /checkpoint', asked))
    },
    async freshness(freshness) {
      return checkSignedBundle(await call(address, 'POST /freshness', freshness))
    },
    async lastCheckpoint() {
      return understood(stateSchema, await call(address, 'GET /state')).last
    },
    async rolesAt() {
      return understood(rolesSchema, await call(address, 'GET /roles')).at
    },
    async takeRoles(bundle) {
      await call(address, 'POST /roles', bundle)
    },
    async nextKey(role, kms) {
      const answer = await call(address, 'POST /next-key', { role, kms })
      return derOf(understood(nextSchema, answer).publicKey)
    },
    async keyPlaces() {
      const answer = understood(placesSchema, await call(address, 'GET /keys'))
      return new Map(answer.map(({ keyHint, place }) => [keyHint, place]))
    },
    async health() {
      const health = understood(healthSchema, await call(address, 'GET /health'))
      if (health.origin !== origin) {
        throw new KilnError('verification_failed', `the signer signs for ${health.origin}`)
      }
    },
  }
}

function understood<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  throw new KilnError('verification_failed', "the signer's answer is not understood")
}

async function call(address: SignerAddress, line: string, body?: object): Promise<unknown> {
  const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  if (bytes !== undefined && bytes.length > maxRequestBytes) {
    throw new KilnError('invalid_input', 'more than 4 MB to sign')
  }
  let answered: { status: number; text: string }
  try {
    answered = await exchange(address, line, bytes)
  } catch (error) {
    throw new KilnError('signer_unavailable', `the signer does not answer at ${address.socket}`, {
      cause: error,
      fix: 'kiln status shows whether it runs',
    })
  }
  const json = jsonOf(answered.text)
  if (answered.status === 200) return json
  const told = errorSchema.safeParse(json)
  if (!told.success || !isErrorCode(told.data.error.code)) {
    throw new KilnError('signer_unavailable', `the signer answered ${answered.status}`)
  }
  const { code, message, place, fix } = told.data.error
  throw new KilnError(code, message, {
    ...(place === null ? {} : { place }),
    ...(fix === null ? {} : { fix }),
  })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function exchange(
  { socket, timeoutMs }: SignerAddress,
  line: string,
  bytes: Uint8Array | undefined,
): Promise<{ status: number; text: string }> {
  const [method, path] = line.split(' ')
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        socketPath: socket,
        method,
        path,
        signal: AbortSignal.timeout(timeoutMs),
        // A kept connection could be one that a restarted signer no longer knows.
        agent: false,
        headers: bytes === undefined ? {} : { 'content-length': bytes.length },
      },
      (response) => {
        const parts: Buffer[] = []
        let size = 0
        response.on('data', (part: Buffer) => {
          size += part.length
          if (size > maxAnswerBytes) response.destroy(new Error('the answer is too long'))
          else parts.push(part)
        })
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(parts).toString('utf8'),
          }),
        )
      },
    )
    asked.on('error', reject)
    asked.end(bytes)
  })
}
