import type { LoggedBundle } from '../../../signing/bundle.ts'
import { canonicalJson } from '../../../signing/canonical.ts'
import { publicKeyOf } from '../../../signing/public-key.ts'
import { derOf, roleKeyOf, sigstoreTrustedRoot, type TrustRoot } from '../../../signing/trust.ts'
import { KilnError } from '../../domain/error.ts'
import type { Evidence } from './format.ts'

/** What cosign and slsa-verifier are given, made of what is judged: the same for the writer and the judge. */
export function derivedFrom(trust: TrustRoot, key: LoggedBundle): Evidence['derived'] {
  const signer = roleKeyOf(trust, key.verificationMaterial.publicKey.hint)
  if (signer === null) throw new KilnError('verification_failed', 'nobody known signed the key')
  const pem = publicKeyOf(derOf(signer.publicKey)).export({ format: 'pem', type: 'spki' })
  return {
    envelope: canonicalJson(key.dsseEnvelope),
    signer: Buffer.from(pem),
    trustedRoot: Buffer.from(`${JSON.stringify(sigstoreTrustedRoot(trust), null, 2)}\n`),
  }
}
