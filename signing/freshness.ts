import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import { hexOf } from '../src/domain/digest.ts'
import { environment, time } from './body-schemas.ts'
import { checkSignedBundle, envelopeOf } from './bundle.ts'
import { canonicalJson, digestOf } from './canonical.ts'
import { verifyCheckpoint, type Checkpoint } from './checkpoint.ts'
import { publicKeyOf } from './public-key.ts'
import { checkPart, readStatement, statementType, wrongStatement } from './statement.ts'
import { derOf, type TrustRoot } from './trust.ts'
import { verifySignature } from './verify.ts'

/**
 * That the log was so at this time: signed every minute by the record role, and never logged. Whoever
 * reads only the store cannot tell an old copy of it from the log of now; this tells.
 */
export const freshnessSchema = z.strictObject({
  /** When it was signed, ISO 8601 in UTC. */
  time,
  /** The log's newest signed note. */
  checkpoint: z.string().max(16_384),
  /** The newest epoch of each environment that has one. */
  epochs: z.record(environment, z.int().positive()),
})

export type Freshness = z.infer<typeof freshnessSchema>

function predicateType(origin: string): string {
  return `https://${origin}/freshness/v1`
}

/** The payload that is signed. */
export function freshnessBytes(freshness: Freshness, origin: string): Uint8Array {
  return canonicalJson({
    _type: statementType,
    subject: [
      {
        name: 'checkpoint:',
        digest: { sha256: hexOf(digestOf(Buffer.from(freshness.checkpoint))) },
      },
    ],
    predicateType: predicateType(origin),
    predicate: freshness,
  })
}

/**
 * Reads a freshness statement: signed by the record key of now, of this log, its checkpoint signed by
 * the log's key, and byte for byte what it says. Its age and whether the log goes on from what a reader
 * saw are the reader's to judge. Throws `verification_failed`.
 */
export function verifyFreshness(
  bundle: unknown,
  trust: TrustRoot,
): Freshness & { tree: Checkpoint } {
  const signed = checkSignedBundle(bundle)
  const key = verifySignature(signed, trust)
  if (key.role !== 'record' || key.validTo !== null) {
    throw new KilnError(
      'verification_failed',
      `signed by a ${key.role} key, wanted the record key`,
      {
        place: 'role',
      },
    )
  }
  const { payload } = envelopeOf(signed)
  const statement = readStatement(payload)
  const freshness = checkPart(freshnessSchema, statement.predicate, 'predicate')
  if (Buffer.compare(freshnessBytes(freshness, trust.origin), payload) !== 0) {
    throw wrongStatement(`it is not a freshness statement of ${trust.origin}`)
  }
  const log = { origin: trust.origin, publicKey: publicKeyOf(derOf(trust.logKey)) }
  return { ...freshness, tree: verifyCheckpoint(freshness.checkpoint, log) }
}
