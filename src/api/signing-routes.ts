import { z } from 'zod'
import { keyArn } from '../domain/key-arn.ts'
import { roles } from '../domain/role.ts'
import type { Route } from './route.ts'
import { get, json, post, prefix } from './route-parts.ts'

export const signingKey = z
  .object({
    role: z.enum(roles),
    /** Of its public half: SHA-256 of the SPKI. */
    fingerprint: z.string(),
    /** First log index at which its word counts. */
    from: z.number().int(),
    /** First log index at which it counts no longer; null while it signs. */
    to: z.number().int().nullable(),
    /** Where its private half is; null: nowhere here, or the signer does not answer. */
    place: z
      .discriminatedUnion('kind', [
        z.object({ kind: z.literal('file') }),
        z.object({ kind: z.literal('encrypted-file') }),
        z.object({ kind: z.literal('kms'), arn: z.string() }),
      ])
      .nullable(),
  })
  .meta({ id: 'SigningKey' })

const keys = json(z.object({ items: z.array(signingKey) }))

/** The signing keys: public halves and ranges; no route knows a private one. */
export const signingRoutes = {
  signingKeys: {
    ...get,
    path: `${prefix}/signing-keys`,
    summary: 'Every signing key that the log knows, with its role and its range of log indexes',
    answer: keys,
  },
  rotateSigningKey: {
    ...post,
    status: 200,
    path: `${prefix}/signing-keys/:role/rotate`,
    summary: "Give a role a new key; the old one's range ends with the log entry that says so",
    params: z.strictObject({ role: z.enum(roles) }),
    body: z.strictObject({
      replaces: z
        .string()
        .regex(/^sha256:[0-9a-f]{64}$/, 'write the fingerprint of the key that is to be replaced'),
      /** The key in AWS's KMS that shall follow; null: one that the signer makes. */
      kms: z
        .string()
        .regex(keyArn, 'write the ARN of the key itself: an alias may come to mean another')
        .nullable()
        .default(null),
    }),
    answer: keys,
  },
} as const satisfies Record<string, Route>
