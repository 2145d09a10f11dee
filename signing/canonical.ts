import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { digestOfHex, type Digest } from '../src/domain/digest.ts'

/**
 * The one byte form of a JSON value: RFC 8785 (JCS), UTF-8. Throws TypeError on what JSON cannot
 * hold: undefined at the top, NaN, infinities, lone surrogates, cycles.
 */
export function canonicalJson(value: unknown): Uint8Array {
  let text: string | undefined
  try {
    text = canonicalize(value)
  } catch (error) {
    throw new TypeError(
      `no canonical JSON: ${error instanceof Error ? error.message : 'unknown'}`,
      {
        cause: error,
      },
    )
  }
  if (text === undefined) throw new TypeError(`no canonical JSON: ${typeof value} is not JSON`)
  return new TextEncoder().encode(text)
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

export function digestOf(bytes: Uint8Array): Digest {
  return digestOfHex(createHash('sha256').update(bytes).digest('hex'))
}

/** The digest of a value's canonical JSON: how definitions, plans and build inputs are named. */
export function digestOfJson(value: unknown): Digest {
  return digestOf(canonicalJson(value))
}
