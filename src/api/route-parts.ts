import { z } from 'zod'
import { breakGlass } from '../domain/break-glass.ts'
import { isPlainLine, plainLine } from '../domain/plain.ts'
import * as views from './views.ts'

/** What routes of the contract are put together from. */

export const prefix = '/api/v1'

const nothing = z.strictObject({})
export const longText = z.string().min(1).max(2048)
const pageSize = z.coerce.number().int().min(1).max(200).default(50)
export const paging = { limit: pageSize, cursor: z.string().max(200).optional() }
export const operationId = z.strictObject({ id: z.string().min(1).max(200) })
export const environmentParams = z.strictObject({
  app: views.appLabel,
  environment: views.appLabel,
})
const artifactParams = z.strictObject({
  digest: z
    .string()
    .regex(/^(sha256:)?[0-9a-f]{6,64}$/, 'write a digest, or at least its first 6 characters'),
})
/** The log keeps why; a person who gives no reason is on record with this one. */
const givenReason = z
  .string()
  .min(1)
  .max(500)
  .regex(plainLine, 'write one line without control or direction characters')
  .refine(isPlainLine, 'holds half a letter')
export const reason = givenReason.default('no reason given')
export const keySequence = z.coerce.number().int().min(1)
export const tailLines = z.coerce.number().int().min(1).max(10_000).default(200)
export const tilePath = z.strictObject({
  '*': z
    .string()
    .regex(/^(entries|[0-9]{1,2})(\/x[0-9]{3}){0,6}\/[0-9]{3}(\.p\/[0-9]{1,3})?$/, 'not a tile'),
})

export const started = { kind: 'json', schema: z.object({ operation: views.operation }) } as const
export const json = <S extends z.ZodType>(schema: S) => ({ kind: 'json', schema }) as const
export const page = <S extends z.ZodType>(item: S) =>
  json(z.object({ items: z.array(item), next: z.string().nullable() }))
export const plain = { kind: 'text', type: 'text/plain; charset=utf-8' } as const
export const document = { kind: 'text', type: 'application/json; charset=utf-8' } as const

export const get = {
  method: 'GET',
  access: 'token',
  status: 200,
  params: nothing,
  query: nothing,
  body: nothing,
} as const
export const post = { ...get, method: 'POST', status: 202, answer: started } as const
export const ofEnvironment = { params: environmentParams } as const
export const ofArtifact = { params: artifactParams } as const

/** What differs from what should run. `complete` false: something could not be looked at. */
export const scan = z
  .object({
    findings: z.array(
      z.object({
        instance: z.string(),
        cause: z.string(),
        found: z.string(),
        expected: z.string(),
      }),
    ),
    complete: z.boolean(),
  })
  .meta({ id: 'Scan' })

export const scanning = {
  ...post,
  ...ofEnvironment,
  status: 200,
  path: `/api/v1/environments/:app/:environment/scan`,
  summary: 'Compare what runs with what should, now and in depth',
  answer: json(scan),
} as const

/** `until`: nobody is let in any more from then on, and the instance is replaced. */
export const entered = z
  .object({
    environment: views.environmentName,
    instance: z.string(),
    id: z.string(),
    until: z.iso.datetime(),
  })
  .meta({ id: 'BreakGlass' })

export const entering = {
  ...post,
  status: 200,
  path: `${prefix}/break-glass`,
  summary: 'Let people into one instance for a time, on record; it is replaced after it. 0 ends it',
  body: z.strictObject({
    instance: z.string().min(1).max(200),
    seconds: z
      .number()
      .int()
      .min(0)
      .max(breakGlass.longestSeconds)
      .default(breakGlass.standardSeconds),
    reason: givenReason,
  }),
  answer: json(entered),
} as const

/** What to deliver; `app`: of a commit that holds several, only this one. */
export const delivery = z.strictObject({
  repository: longText,
  revision: z.string().min(1).max(250),
  useCache: z.boolean().default(true),
  app: views.appLabel.optional(),
})

/** A denial is for good: it needs a reason. */
export const denying = {
  ...post,
  path: `${prefix}/denials`,
  summary: 'Deny something for good; every environment that serves it returns from it, or stops',
  body: z.strictObject({
    subject: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('artifact'), digest: views.digest }),
      z.strictObject({
        kind: z.literal('key'),
        environment: views.environmentName,
        sequence: z.number().int().min(1),
      }),
      z.strictObject({
        kind: z.literal('template'),
        name: views.appLabel,
        lock: z
          .string()
          .regex(/^(sha256:)?[0-9a-f]{6,64}$/, 'write a lock, or at least its first 6 characters'),
      }),
      z.strictObject({
        kind: z.literal('signing-key'),
        fingerprint: views.digest,
        /** The log index from which on what it said is denied; null: none of it. */
        from: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).nullable(),
      }),
    ]),
    reason: givenReason,
  }),
} as const
