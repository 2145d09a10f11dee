import { digestOfHex, hexOf } from '../src/domain/digest.ts'
import { parseEnvironmentName } from '../src/domain/name.ts'
import { denialBody, label } from './body-schemas.ts'
import { checkPart, wrongStatement, type SignableOf, type Statement } from './statement.ts'
import { policyPrefix, slsaVersion, summary } from './vsa.ts'

/** The denial: a verification summary that FAILED, by the deny role. */

type Denial = SignableOf<'denial'>

function partName(origin: string): string {
  return `https://${origin}/denial/v1`
}

/** An artifact goes by its app's name; all else by a name with a prefix that no app can have. */
export function deniedSubject({ app, artifact, body }: Denial): { name: string; sha256: string } {
  const { of } = body
  switch (of?.kind) {
    case undefined:
      if (artifact === null || app === null) throw wrongStatement('no artifact', 'subject')
      return { name: app, sha256: hexOf(artifact) }
    case 'key':
      return { name: `key:${of.environment}@${of.sequence}`, sha256: of.key }
    case 'template':
      return { name: `template:${of.name}`, sha256: hexOf(of.lock) }
    case 'signing-key':
      return { name: `signing-key:${of.role}`, sha256: hexOf(of.fingerprint) }
  }
}

function resourceOf({ app, body: { of } }: Denial, origin: string): string {
  switch (of?.kind) {
    case undefined:
      return `oci://${origin}/${app}`
    case 'key': {
      const { app: own, environment } = parseEnvironmentName(of.environment)
      return `oci://${origin}/${own}?environment=${environment}`
    }
    case 'template':
      return `https://${origin}/templates/${of.name}`
    case 'signing-key':
      return `https://${origin}/signing-keys/${of.role}`
  }
}

export function denialPredicate(signable: Denial, origin: string): object {
  return {
    verifier: { id: `https://${origin}/denier/v1`, version: { kiln: signable.version } },
    timeVerified: signable.time,
    resourceUri: resourceOf(signable, origin),
    policy: { uri: `${policyPrefix(origin)}denial` },
    verificationResult: 'FAILED',
    verifiedLevels: ['FAILED'],
    slsaVersion,
    [partName(origin)]: signable.body,
  }
}

export function readDenial(statement: Statement, origin: string): Denial {
  const outer = checkPart(summary, statement.predicate, 'predicate')
  const [{ digest, name }] = statement.subject
  const body = checkPart(denialBody, outer[partName(origin)], 'predicate.denial')
  const isArtifact = body.of === undefined
  return {
    kind: 'denial',
    time: outer.timeVerified,
    version: outer.verifier.version.kiln,
    artifact: isArtifact ? digestOfHex(digest.sha256) : null,
    app: isArtifact ? checkPart(label, name, 'subject.name') : null,
    body,
  }
}
