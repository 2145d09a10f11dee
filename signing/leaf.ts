import { z } from 'zod'
import { KilnError } from '../src/domain/error.ts'
import type { Leaf } from '../src/domain/statement.ts'
import { fromBase64, toBase64 } from './base64.ts'
import { canonicalJson, sha256 } from './canonical.ts'
import { preAuthEncoding, type Envelope } from './dsse.ts'
import { leafHash } from './merkle.ts'

/** What a ledger leaf says: this key signed bytes of this SHA-256. */
export type LeafContent = {
  /** SHA-256 of the envelope's pre-authentication encoding, 32 bytes. */
  digest: Uint8Array
  /** ECDSA P-256, DER. */
  signature: Uint8Array
  /** SPKI, DER. */
  publicKey: Uint8Array
}

/** Two length bytes go before each entry in a tile of entries. */
const maxLeafBytes = 65_535

const keyDetails = 'PKIX_ECDSA_P256_SHA_256'

const leafSchema = z.strictObject({
  apiVersion: z.literal('0.0.2'),
  kind: z.literal('hashedrekord'),
  spec: z.strictObject({
    hashedRekordV002: z.strictObject({
      data: z.strictObject({ algorithm: z.literal('SHA2_256'), digest: z.string() }),
      signature: z.strictObject({
        content: z.string(),
        verifier: z.strictObject({
          keyDetails: z.literal(keyDetails),
          publicKey: z.strictObject({ rawBytes: z.string() }),
        }),
      }),
    }),
  }),
})

/** The leaf's bytes: Rekor v2's hashedrekord 0.0.2 as canonical JSON. Sigstore's tools rebuild and hash exactly these. */
export function encodeLeaf({ digest, signature, publicKey }: LeafContent): Uint8Array {
  return canonicalJson({
    apiVersion: '0.0.2',
    kind: 'hashedrekord',
    spec: {
      hashedRekordV002: {
        data: { algorithm: 'SHA2_256', digest: toBase64(digest) },
        signature: {
          content: toBase64(signature),
          verifier: { keyDetails, publicKey: { rawBytes: toBase64(publicKey) } },
        },
      },
    },
  })
}

/** The leaf of a signed envelope; `publicKey` is the signing role's SPKI, DER. */
export function leafOfEnvelope(envelope: Envelope, publicKey: Uint8Array): Uint8Array {
  const digest = sha256(preAuthEncoding(envelope.payloadType, envelope.payload))
  return encodeLeaf({ digest, signature: envelope.signature, publicKey })
}

/** A leaf's name: its RFC 6962 hash in hexadecimal. */
export function leafName(leaf: Uint8Array): Leaf {
  return Buffer.from(leafHash(leaf)).toString('hex')
}

/** Throws `ledger_corrupt` unless the bytes are exactly what `encodeLeaf` gives for what they say. */
export function parseLeaf(bytes: Uint8Array): LeafContent {
  const content = readLeaf(bytes)
  if (content === null || Buffer.compare(encodeLeaf(content), bytes) !== 0) {
    throw new KilnError('ledger_corrupt', 'a ledger entry is not a canonical hashedrekord 0.0.2')
  }
  return content
}

function readLeaf(bytes: Uint8Array): LeafContent | null {
  if (bytes.length > maxLeafBytes) return null
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return null
  }
  const parsed = leafSchema.safeParse(json)
  if (!parsed.success) return null
  const { data, signature } = parsed.data.spec.hashedRekordV002
  const digest = fromBase64(data.digest)
  const content = fromBase64(signature.content)
  const publicKey = fromBase64(signature.verifier.publicKey.rawBytes)
  if (digest?.length !== 32 || content === null || publicKey === null) return null
  return { digest, signature: content, publicKey }
}
