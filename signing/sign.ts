import { createPublicKey, sign, type KeyObject } from 'node:crypto'
import { bundleToJSON } from '@sigstore/bundle'
import { DSSEBundleBuilder, type Signer } from '@sigstore/sign'
import { checkSignedBundle, type SignedBundle } from './bundle.ts'
import { inTotoPayloadType } from './dsse.ts'
import { keyHintOf, spkiOf } from './public-key.ts'

/** Signs a statement's bytes as a DSSE bundle without a log entry. ECDSA is randomised: each call gives another bundle. */
export async function signPayload(
  payload: Uint8Array,
  privateKey: KeyObject,
): Promise<SignedBundle> {
  const builder = new DSSEBundleBuilder({ signer: signerOf(privateKey), witnesses: [] })
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

function signerOf(privateKey: KeyObject): Signer {
  const publicKey = createPublicKey(privateKey)
  const pem = String(publicKey.export({ format: 'pem', type: 'spki' }))
  const hint = keyHintOf(spkiOf(publicKey))
  return {
    async sign(data) {
      return {
        signature: sign('sha256', data, privateKey),
        key: { $case: 'publicKey', publicKey: pem, hint },
      }
    },
  }
}
