import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { KilnError } from '../src/domain/error.ts'
import { toBase64 } from './base64.ts'
import { publicKeyOf, spkiOf } from './public-key.ts'

/**
 * What a key's file holds: PKCS#8 PEM; or, under a passphrase, encrypted PKCS#8 PEM; or where the private half
 * is in AWS's KMS. After the latter two stands the public half, which tells which key it is.
 */
export function encodeKey(key: KeyObject, passphrase: string | null): string {
  if (passphrase === null) return String(key.export({ format: 'pem', type: 'pkcs8' }))
  const sealed = key.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase })
  return `${String(sealed)}${halfPem(createPublicKey(key))}`
}

export function encodeReference(arn: string, publicKey: Uint8Array): string {
  return `aws-kms: ${arn}\n${halfPem(publicKeyOf(publicKey))}`
}

function halfPem(key: KeyObject): string {
  return String(key.export({ format: 'pem', type: 'spki' }))
}

/** The ARN of a key in a KMS; null for a private half that stands in the file. */
export function referenceIn(content: string): string | null {
  return /^aws-kms: (\S+)\n/.exec(content)?.[1] ?? null
}

export function isEncrypted(content: string): boolean {
  return content.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----')
}

/** Throws `prerequisite_missing`, which quotes neither the file nor the passphrase. */
export function decodeKey(content: string, passphrase: string | null, place: string): KeyObject {
  if (!isEncrypted(content)) return opened(() => createPrivateKey(content), place)
  if (passphrase === null) {
    throw new KilnError('prerequisite_missing', `${place} is encrypted`, {
      place,
      fix: 'name the file with its passphrase: KILN_SIGNING_PASSPHRASE_FILE',
    })
  }
  const key = opened(() => createPrivateKey({ key: content, passphrase }), place)
  if (toBase64(spkiOf(createPublicKey(key))) === publicHalf(content)) return key
  throw wrong(place, 'the public half in it is of another key')
}

/** SPKI, DER, base64, of what the file says it holds; null when it is no key. */
export function publicHalf(content: string): string | null {
  const [half] = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/.exec(content) ?? []
  try {
    return toBase64(spkiOf(createPublicKey(half ?? content)))
  } catch {
    return null
  }
}

function opened(open: () => KeyObject, place: string): KeyObject {
  try {
    return open()
  } catch {
    // The cause is left out: it may quote what was read.
    throw wrong(place, 'it is not a signing key, or the passphrase is another')
  }
}

function wrong(place: string, message: string): KilnError {
  return new KilnError('prerequisite_missing', `${place} cannot be opened: ${message}`, {
    place,
    fix: 'check KILN_SIGNING_PASSPHRASE_FILE, or restore the keys folder from its backup',
  })
}
