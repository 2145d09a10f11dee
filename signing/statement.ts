import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import type { Digest } from '../src/domain/digest.ts'
import type {
  ActivationBody,
  BreakGlassBody,
  ChangeBody,
  DenialBody,
  DriftBody,
  FactKind,
  KeyBody,
  RefusalBody,
  RejectedBody,
  ReleaseBody,
  SealedBody,
} from '../src/domain/statement.ts'
import { hex } from './body-schemas.ts'
import type { TrustRoot } from './trust.ts'

export const statementType = 'https://in-toto.io/Statement/v1'

/** The most that one request to the signer may hold; an SBOM of a large image is about 1 MB. */
export const maxRequestBytes = 4 * 1024 * 1024

export type Statement = {
  _type: typeof statementType
  subject: readonly [{ name: string; digest: { sha256: string } }]
  predicateType: string
  predicate: object
}

/** What a build's provenance says beyond the artifact's digest. Times are the build's, ISO 8601 in UTC. */
type Provenance = {
  build: string
  app: string
  source: { repository: string; commit: string }
  template: { name: string; lock: Digest }
  parameters: Readonly<Record<string, string>>
  internalParameters: Readonly<Record<string, string>>
  /** OCI manifest of the locked base image. */
  base: Digest
  /** Blob of the fetched dependencies; null when the source has none. */
  dependencies: Digest | null
  /** Blob: the per-file manifest. */
  files: Digest
  /** Blob: the SBOM. */
  sbom: Digest
  startedOn: string | null
}

/**
 * Everything that Kiln signs, one variant for each kind of fact. `time` is ISO 8601 in UTC; for
 * provenance the end of the build; an SBOM that has a timestamp of its own keeps it.
 */
export type Signable = { time: string } & (
  | { kind: 'roles'; trust: TrustRoot }
  | { kind: 'provenance'; artifact: Digest; provenance: Provenance }
  | { kind: 'sbom'; artifact: Digest; app: string; document: Readonly<Record<string, unknown>> }
  | { kind: 'sealed'; artifact: Digest; body: SealedBody }
  | { kind: 'rejected'; body: RejectedBody }
  | { kind: 'change'; body: ChangeBody }
  | KeySignable
  | { kind: 'activation'; artifact: Digest | null; body: ActivationBody }
  | { kind: 'drift'; artifact: Digest | null; body: DriftBody }
  | { kind: 'release'; artifact: Digest | null; body: ReleaseBody }
  | { kind: 'refusal'; artifact: Digest | null; body: RefusalBody }
  | { kind: 'break-glass'; artifact: Digest | null; body: BreakGlassBody }
  | DenialSignable
)

type KeySignable = {
  kind: 'key'
  /** Kiln's version. */
  version: string
  policy: { name: string; digest: Digest }
  /** Every statement that the decision used, the previous environment's key among them. */
  inputs: readonly { uri: string; digest: Digest }[]
  /** As keys of 0.1.0 named the build level they claim: `SLSA_BUILD_LEVEL_UNEVALUATED`. */
  unevaluated?: true
  body: KeyBody
}

type DenialSignable = {
  kind: 'denial'
  version: string
  /** Both null when what is denied is no artifact. */
  artifact: Digest | null
  app: string | null
  body: DenialBody
}

export type SignableOf<K extends FactKind> = Extract<Signable, { kind: K }>

const statementSchema = z.strictObject({
  _type: z.literal(statementType),
  subject: z.tuple([
    z.strictObject({ name: z.string().min(1), digest: z.strictObject({ sha256: hex }) }),
  ]),
  predicateType: z.string(),
  predicate: z.custom<object>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  ),
})

export function wrongStatement(message: string, place = 'statement'): KilnError {
  return new KilnError('verification_failed', `statement: ${message}`, { place })
}

/** Checks a part of a statement; the first bad field stands in the error's `place`. */
export function checkPart<T>(schema: z.ZodType<T>, value: unknown, part: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const place = [part, ...(issue?.path ?? [])].join('.')
  throw wrongStatement(`${place}: ${issue?.message ?? 'unreadable'}`, place)
}

/** The outer form of any in-toto statement with one subject. */
export function readStatement(payload: Uint8Array): Statement {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch {
    throw wrongStatement('not JSON')
  }
  return checkPart(statementSchema, json, 'statement')
}
