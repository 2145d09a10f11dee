import { p256 } from '@noble/curves/nist.js'

/** SPKI, DER, of a P-256 key whose point is not compressed: a fixed head, then 65 bytes of the point. */
const spkiHead = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex')
const pointBytes = 65

/** The point of a P-256 key; null for any other key or spelling. */
function pointOf(spki: Uint8Array): Uint8Array | null {
  const head = spki.subarray(0, spkiHead.length)
  const point = spki.subarray(spkiHead.length)
  const fits = Buffer.compare(head, spkiHead) === 0 && point.length === pointBytes
  return fits && point[0] === 4 ? point : null
}

export function isP256Spki(spki: Uint8Array): boolean {
  return pointOf(spki) !== null
}

/**
 * Whether the key (SPKI, DER) signed bytes of this SHA-256, ECDSA P-256 with the signature in DER. Node's
 * own crypto hashes whatever it is given, and a log is given the hash alone. Never throws.
 */
export function verifyPrehashed(signed: {
  digest: Uint8Array
  signature: Uint8Array
  publicKey: Uint8Array
}): boolean {
  const point = pointOf(signed.publicKey)
  if (point === null) return false
  try {
    const how = { prehash: false, lowS: false, format: 'der' } as const
    return p256.verify(signed.signature, signed.digest, point, how)
  } catch {
    return false
  }
}
