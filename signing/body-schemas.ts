import { z } from 'zod'
import { isErrorCode } from '../src/domain/error.ts'
import { isDigest, type Digest } from '../src/domain/digest.ts'
import { isLabel, type EnvironmentName } from '../src/domain/name.ts'
import { driftCauses } from '../src/domain/statement.ts'
import type {
  ActivationBody,
  BreakGlassBody,
  ChangeBody,
  DenialBody,
  DriftBody,
  KeyBody,
  RefusalBody,
  RejectedBody,
  ReleaseBody,
  SealedBody,
} from '../src/domain/statement.ts'

/** Strict schemas of what Kiln's own statements say. A field too many is as wrong as one too few. */

const digest = z.custom<Digest>(
  (value) => typeof value === 'string' && isDigest(value),
  'not sha256:<64 hex>',
)
export const hex = z.string().regex(/^[0-9a-f]{64}$/, 'not 64 hexadecimal characters')
export const commit = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, 'not a full commit id')
export const time = z.iso.datetime()
export const label = z.string().refine(isLabel, 'not a DNS label')
export const buildId = z.string().regex(/^build:[0-9a-f]{64}$/, 'not build:<64 hex>')
const line = z.string().max(16_384)
export const environment = z.custom<EnvironmentName>((value) => {
  if (typeof value !== 'string') return false
  const parts = value.split('/')
  return parts.length === 2 && parts.every(isLabel)
}, 'not <app>/<environment>')

const name = z.string().min(1).max(300)
const sequence = z.int().positive()
const count = z.int().nonnegative()

const source = z.strictObject({
  repository: z.string().min(1).max(4096),
  commit,
  tree: commit,
  committedAt: count,
  subject: line,
  path: z.string().min(1).max(200).optional(),
  content: digest.optional(),
})

const served = z.strictObject({ digest, definition: digest, sequence }).nullable()

const rollbackTo = z.strictObject({ sequence, digest }).nullable()

const templateLock = z.strictObject({ name: label, lock: digest })
const builtFrom = templateLock.extend({ base: templateLock.exactOptional() })

const step = z.strictObject({
  environment: label,
  definition: digest,
  instances: z.strictObject({ min: count, max: count }),
  automatic: z.boolean(),
  route: z
    .strictObject({
      host: z.string().min(1).max(253).exactOptional(),
      path: z.string().min(1).max(200).exactOptional(),
    })
    .exactOptional(),
})

export const sealedBody = z.strictObject({
  state: z.literal('sealed'),
  build: buildId,
  app: label,
  source,
  template: builtFrom,
  provenance: hex,
  sbom: hex,
  files: digest,
  specification: digest,
  pipeline: z.array(step).max(100),
}) satisfies z.ZodType<SealedBody>

export const rejectedBody = z.strictObject({
  state: z.literal('rejected'),
  build: buildId,
  app: label,
  source,
  code: z.string().refine(isErrorCode, 'not an error code'),
  message: line,
}) satisfies z.ZodType<RejectedBody>

export const changeBody = z.strictObject({
  environment,
  epoch: sequence,
  tip: hex.nullable(),
  change: name,
  changeKind: z.enum([
    'promotion',
    'rollback',
    'scale',
    'replacement',
    'rotation',
    'return',
    'stop',
  ]),
  target: z.strictObject({ digest, definition: digest }),
  instances: count,
  from: served,
  rollbackTo,
  reason: line,
  requestedBy: name,
  plan: digest,
}) satisfies z.ZodType<ChangeBody>

export const activationBody = z.strictObject({
  environment,
  epoch: sequence,
  change: name,
  outcome: z.enum(['active', 'failed']),
  key: hex.nullable(),
  serving: served,
  instances: z.array(z.strictObject({ name, id: name })).max(10_000),
  failure: z.strictObject({ code: name, message: line }).nullable(),
}) satisfies z.ZodType<ActivationBody>

export const driftBody = z.strictObject({
  environment,
  epoch: count,
  instance: name,
  cause: z.enum(driftCauses),
  found: line,
  expected: line,
}) satisfies z.ZodType<DriftBody>

export const releaseBody = z.strictObject({
  environment,
  change: name,
  reason: line,
  requestedBy: name,
}) satisfies z.ZodType<ReleaseBody>

export const refusalBody = z.strictObject({
  environment: environment.nullable(),
  change: name,
  rule: name,
  message: line,
  requestedBy: name,
}) satisfies z.ZodType<RefusalBody>

export const breakGlassBody = z.strictObject({
  environment,
  instance: name,
  id: name,
  until: time,
  reason: line,
  requestedBy: name,
}) satisfies z.ZodType<BreakGlassBody>

export const keyBody = z.strictObject({
  environment,
  sequence,
  epoch: sequence,
  previous: hex.nullable(),
  rollbackTo,
  digest,
  definition: digest,
  template: digest,
  commit,
  requestedBy: name,
  approvedBy: z.array(name).max(100),
  plan: digest,
}) satisfies z.ZodType<KeyBody>

export const denialBody = z.strictObject({
  reason: line,
  requestedBy: name,
  of: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('key'), environment, sequence, key: hex }),
      z.strictObject({ kind: z.literal('template'), name: label, lock: digest }),
      z.strictObject({
        kind: z.literal('signing-key'),
        role: z.enum(['build', 'test', 'promote', 'deny', 'record']),
        fingerprint: digest,
        from: z.int().nonnegative(),
        to: z.int().nonnegative(),
      }),
    ])
    .exactOptional(),
}) satisfies z.ZodType<DenialBody>
