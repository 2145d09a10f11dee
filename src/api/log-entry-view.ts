import { z } from 'zod'

/** Rekor v2's own forms, as its protocol buffers are written in JSON; Kiln takes and gives these parts of them. */

/** Lengths in base64; the exact ones are checked where the bytes are. */
const bytes = (most: number) => z.base64().max(Math.ceil(most / 3) * 4)

export const logEntryRequest = z.strictObject({
  hashedRekordRequestV002: z.strictObject({
    /** SHA-256 of what was signed: of a DSSE envelope its pre-authentication encoding. */
    digest: bytes(32),
    signature: z.strictObject({
      content: bytes(72),
      verifier: z.strictObject({
        publicKey: z.strictObject({ rawBytes: bytes(91) }),
        keyDetails: z.literal('PKIX_ECDSA_P256_SHA_256'),
      }),
    }),
  }),
})

export const logEntry = z
  .object({
    logIndex: z.string(),
    logId: z.object({ keyId: z.string() }),
    kindVersion: z.object({ kind: z.string(), version: z.string() }),
    inclusionProof: z.object({
      logIndex: z.string(),
      rootHash: z.string(),
      treeSize: z.string(),
      hashes: z.array(z.string()),
      checkpoint: z.object({ envelope: z.string() }),
    }),
    canonicalizedBody: z.string(),
  })
  .meta({ id: 'TransparencyLogEntry' })
