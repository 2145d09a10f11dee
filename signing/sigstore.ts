import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, VerificationError, Verifier } from '@sigstore/verify'
import { KilnError } from '../src/domain/error.ts'
import type { LoggedBundle } from './bundle.ts'
import { publicKeyOf } from './public-key.ts'
import { derOf, roleKeyOf, sigstoreTrustedRoot, type TrustRoot } from './trust.ts'

/**
 * A second opinion by other people's code, on what Sigstore's verifier checks: signature, log entry,
 * proof and checkpoint. It knows neither roles nor subjects. Throws `verification_failed`.
 */
export function checkWithSigstore(bundle: LoggedBundle, trust: TrustRoot): void {
  const material = toTrustMaterial(TrustedRoot.fromJSON(sigstoreTrustedRoot(trust)), (hint) => {
    const key = roleKeyOf(trust, hint)
    if (key === null) throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: hint })
    // Validity is by log index, which Sigstore has no word for: `verifyLogEntry` checks it.
    return { publicKey: publicKeyOf(derOf(key.publicKey)), validFor: () => true }
  })
  const verifier = new Verifier(material, {
    tlogThreshold: 1,
    ctlogThreshold: 0,
    timestampThreshold: 0,
  })
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(bundle)))
  } catch (error) {
    throw new KilnError('verification_failed', "Sigstore's verifier refuses the bundle", {
      place: 'sigstore',
      cause: error,
    })
  }
}
