import { createPublicKey, type KeyObject } from 'node:crypto'
import { KilnError } from '../src/domain/error.ts'
import { toBase64 } from './base64.ts'
import { sha256 } from './canonical.ts'

/** Throws `verification_failed` unless the bytes are an SPKI, DER. */
export function publicKeyOf(spki: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch (error) {
    throw new KilnError('verification_failed', 'not a public key (SPKI, DER)', { cause: error })
  }
}

export function spkiOf(publicKey: KeyObject): Uint8Array {
  return publicKey.export({ format: 'der', type: 'spki' })
}

/** How bundles name the key that signed them: base64 of SHA-256 over the SPKI. */
export function keyHintOf(spki: Uint8Array): string {
  return toBase64(sha256(spki))
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}
