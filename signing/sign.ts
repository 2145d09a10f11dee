import { bundleToJSON, toDSSEBundle } from '@sigstore/bundle'
import { checkSignedBundle, type SignedBundle } from './bundle.ts'
import { inTotoPayloadType, preAuthEncoding } from './dsse.ts'
import { keyHintOf } from './public-key.ts'
import type { SigningKey } from './signing-key.ts'

/** Signs a statement's bytes as a DSSE bundle without a log entry. ECDSA is randomised: each call gives another bundle. */
export async function signPayload(payload: Uint8Array, key: SigningKey): Promise<SignedBundle> {
  // Sigstore's own signing package makes the same bundle (the tests compare), and brings network clients along.
  const built = toDSSEBundle({
    artifact: Buffer.from(payload),
    artifactType: inTotoPayloadType,
    signature: Buffer.from(await key.sign(preAuthEncoding(inTotoPayloadType, payload))),
    keyHint: keyHintOf(key.publicKey),
  })
  const { mediaType, verificationMaterial, dsseEnvelope } = bundleToJSON(built)
  return checkSignedBundle({
    mediaType,
    verificationMaterial: { publicKey: verificationMaterial.publicKey },
    dsseEnvelope: {
      ...dsseEnvelope,
      // The builder repeats the hint as keyid, and cosign refuses that.
      signatures: dsseEnvelope?.signatures.map(({ sig }) => ({ sig })),
    },
  })
}
