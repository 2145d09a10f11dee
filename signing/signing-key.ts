import { createPublicKey, sign, type KeyObject } from 'node:crypto'
import { z } from 'zod'
import { keyArn } from '../src/domain/key-arn.ts'
import { spkiOf } from './public-key.ts'

/** Where a private half is. */
export const keyPlaceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file') }),
  z.strictObject({ kind: z.literal('encrypted-file') }),
  z.strictObject({ kind: z.literal('kms'), arn: z.string().regex(keyArn) }),
])
export type KeyPlace = z.infer<typeof keyPlaceSchema>

/** `keyHint` as in the list of roles. */
export const placedKeySchema = z.strictObject({ keyHint: z.string(), place: keyPlaceSchema })
export type PlacedKey = z.infer<typeof placedKeySchema>

/** One signing key, wherever its private half is. ECDSA P-256. */
export type SigningKey = {
  /** SPKI, DER. */
  publicKey: Uint8Array
  place: KeyPlace
  /**
   * The signature over SHA-256 of the bytes, DER. Throws `signer_unavailable` when the key cannot be reached
   * now, `refused` when asking again does not help.
   */
  sign: (bytes: Uint8Array) => Promise<Uint8Array>
}

/** A key whose private half is in this process, read from a file. */
export function localKey(
  privateKey: KeyObject,
  kind: 'file' | 'encrypted-file' = 'file',
): SigningKey {
  return {
    publicKey: spkiOf(createPublicKey(privateKey)),
    place: { kind },
    sign: async (bytes) => sign('sha256', bytes, privateKey),
  }
}
