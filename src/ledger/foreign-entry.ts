import { encodeLeaf, type LeafContent } from '../../signing/leaf.ts'
import { isP256Spki, verifyPrehashed } from '../../signing/prehashed.ts'
import { keyHintOf } from '../../signing/public-key.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import { KilnError } from '../domain/error.ts'

/** ECDSA P-256 in DER: two numbers of at most 33 bytes, and what stands around them. */
const longestSignature = 72
const digestBytes = 32

export type CheckedEntry = {
  leaf: Uint8Array
  /** `own`: by one of Kiln's role keys, of now or of before. */
  by: 'own' | 'foreign'
}

/**
 * An entry that somebody else wants in the log: its lengths, its key, and that this key signed bytes of this
 * digest. Role keys speak through the signer alone, and what they say needs its bundle: the caller may only
 * answer with what is in the log already. Throws `invalid_input`, `forbidden` (a key that is not allowed) or
 * `verification_failed`. Pure.
 */
export function checkEntry(
  content: LeafContent,
  { trust, allowed }: { trust: TrustRoot; allowed: ReadonlySet<string> },
): CheckedEntry {
  const { digest, signature, publicKey } = content
  if (digest.length !== digestBytes) throw invalid('digest', `not ${digestBytes} bytes`)
  if (signature.length > longestSignature) throw invalid('signature.content', 'too long')
  if (!isP256Spki(publicKey)) throw invalid('signature.verifier', 'not a P-256 key (SPKI, DER)')
  const hint = keyHintOf(publicKey)
  const own = trust.roles.some((key) => key.keyHint === hint)
  if (!own && !allowed.has(hint)) {
    throw new KilnError('forbidden', `the key ${hint} may not write into this log`, {
      place: 'signature.verifier',
      fix: 'put its public half into the folder that KILN_LOG_KEYS names',
    })
  }
  if (!verifyPrehashed(content)) {
    throw new KilnError('verification_failed', 'the key did not sign bytes of this digest', {
      place: 'signature.content',
    })
  }
  return { leaf: encodeLeaf(content), by: own ? 'own' : 'foreign' }
}

function invalid(place: string, message: string): KilnError {
  return new KilnError('invalid_input', `${place}: ${message}`, { place })
}
