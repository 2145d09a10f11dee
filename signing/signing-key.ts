import { createPublicKey, sign, type KeyObject } from 'node:crypto'
import { spkiOf } from './public-key.ts'

/** One signing key, wherever its private half is. ECDSA P-256. */
export type SigningKey = {
  /** SPKI, DER. */
  publicKey: Uint8Array
  /** The signature over SHA-256 of the bytes, DER. Throws `signer_unavailable` when the key cannot be reached now. */
  sign: (bytes: Uint8Array) => Promise<Uint8Array>
}

/** A key whose private half is in this process. */
export function localKey(privateKey: KeyObject): SigningKey {
  return {
    publicKey: spkiOf(createPublicKey(privateKey)),
    sign: async (bytes) => sign('sha256', bytes, privateKey),
  }
}
