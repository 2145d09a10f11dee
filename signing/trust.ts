import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { roles, type Role } from '../src/domain/role.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { isOrigin, logId } from './checkpoint.ts'
import { isP256, keyHintOf, publicKeyOf } from './public-key.ts'

const spki = z.string().refine((text) => fromBase64(text) !== null, 'not base64')
const index = z.int().nonnegative()

const roleKeySchema = z.strictObject({
  role: z.enum(roles),
  /** SPKI, DER, base64. */
  publicKey: spki,
  keyHint: z.string(),
  /** First log index at which the key is valid. */
  validFrom: index,
  /** First log index at which it is valid no longer; null while it is. */
  validTo: index.nullable(),
})

export const trustRootSchema = z.strictObject({
  origin: z.string().refine(isOrigin, 'not a bare host name'),
  /** SPKI (Ed25519), DER, base64. */
  logKey: spki,
  roles: z.array(roleKeySchema).min(1).max(1000),
})

/** What a verifier must know beforehand: the log, and which key may sign as which role, from where to where in the log. */
export type TrustRoot = z.infer<typeof trustRootSchema>

export type RoleKey = TrustRoot['roles'][number]

/** Throws `verification_failed` with the bad field in `place`; the keys are of their kinds and named by their hints. */
export function checkTrustRoot(json: unknown): TrustRoot {
  const parsed = trustRootSchema.safeParse(json)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw refused(['trust', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'unreadable')
  }
  const trust = parsed.data
  if (publicKeyOf(derOf(trust.logKey)).asymmetricKeyType !== 'ed25519') {
    throw refused('trust.logKey', 'not an Ed25519 key')
  }
  for (const [at, key] of trust.roles.entries()) {
    const der = derOf(key.publicKey)
    if (!isP256(publicKeyOf(der))) throw refused(`trust.roles.${at}.publicKey`, 'not a P-256 key')
    if (keyHintOf(der) !== key.keyHint) {
      throw refused(`trust.roles.${at}.keyHint`, "not this key's hint")
    }
  }
  return trust
}

function refused(place: string, message: string): KilnError {
  return new KilnError('verification_failed', `trust root: ${message}`, { place })
}

export function derOf(base64: string): Uint8Array {
  return Buffer.from(base64, 'base64')
}

/**
 * The key that a hint names. One key in two roles would make a role's word meaningless, so a hint
 * that two roles share names none.
 */
export function roleKeyOf(trust: TrustRoot, hint: string): RoleKey | null {
  const named = trust.roles.filter((key) => key.keyHint === hint)
  return named.length === 1 ? (named[0] ?? null) : null
}

/** How people and settings name a signing key: `sha256:` and the hexadecimal SHA-256 of its SPKI. */
export function fingerprintOf({ keyHint }: Pick<RoleKey, 'keyHint'>): string {
  return `sha256:${Buffer.from(keyHint, 'base64').toString('hex')}`
}

export function isValidAt(key: RoleKey, logIndex: number): boolean {
  return key.validFrom <= logIndex && (key.validTo === null || logIndex < key.validTo)
}

/** The role's key for new statements. Throws `verification_failed` when the trust root has none or several. */
export function currentKey(trust: TrustRoot, role: Role): RoleKey {
  const current = trust.roles.filter((key) => key.role === role && key.validTo === null)
  const [only] = current
  if (only === undefined || current.length > 1) {
    throw refused('trust.roles', `no single current key for the ${role} role`)
  }
  return only
}

/** Sigstore's trusted root as JSON, for `cosign --trusted-root` and @sigstore/verify: the log and nothing else. */
export function sigstoreTrustedRoot(trust: TrustRoot): Record<string, unknown> {
  const id = toBase64(logId(trust.origin, publicKeyOf(derOf(trust.logKey))))
  return {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [
      {
        baseUrl: `https://${trust.origin}`,
        hashAlgorithm: 'SHA2_256',
        publicKey: {
          rawBytes: trust.logKey,
          keyDetails: 'PKIX_ED25519',
          // The log's key has no time of its own: order in the log is Kiln's clock.
          validFor: { start: '1970-01-01T00:00:00Z' },
        },
        logId: { keyId: id },
      },
    ],
    certificateAuthorities: [],
    ctlogs: [],
    timestampAuthorities: [],
  }
}
