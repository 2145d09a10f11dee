import { bundleToJSON } from '@sigstore/bundle'
import { DSSEBundleBuilder, type Signer } from '@sigstore/sign'
import { checkSignedBundle, type SignedBundle } from './bundle.ts'
import { inTotoPayloadType } from './dsse.ts'
import { keyHintOf, publicKeyOf } from './public-key.ts'
import type { SigningKey } from './signing-key.ts'

/** Signs a statement's bytes as a DSSE bundle without a log entry. ECDSA is randomised: each call gives another bundle. */
export async function signPayload(payload: Uint8Array, key: SigningKey): Promise<SignedBundle> {
  const builder = new DSSEBundleBuilder({ signer: signerOf(key), witnesses: [] })
  const built = await builder.create({ data: Buffer.from(payload), type: inTotoPayloadType })
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

function signerOf(key: SigningKey): Signer {
  const pem = publicKeyOf(key.publicKey).export({ format: 'pem', type: 'spki' })
  const hint = keyHintOf(key.publicKey)
  return {
    async sign(data) {
      return {
        signature: Buffer.from(await key.sign(data)),
        key: { $case: 'publicKey', publicKey: String(pem), hint },
      }
    },
  }
}
