import { z } from 'zod'
import { digestOfHex, hexOf } from '../src/domain/digest.ts'
import { parseEnvironmentName } from '../src/domain/name.ts'
import { commit, environment, hex, keyBody, time } from './body-schemas.ts'
import { checkPart, wrongStatement, type SignableOf, type Statement } from './statement.ts'

/**
 * SLSA verification summaries: the provisioning key (PASSED, promote role); the denial (FAILED, deny
 * role) is in denial.ts. https://slsa.dev/spec/v1.2/verification_summary
 */

export const slsaVersion = '1.2'

const sha256 = z.object({ sha256: hex })

export const summary = z.looseObject({
  verifier: z.object({ version: z.object({ kiln: z.string() }) }),
  timeVerified: time,
  resourceUri: z.string(),
  verifiedLevels: z.array(z.string()).max(10),
})

/** The digests of a key's own part stand as in-toto digest sets. */
const keyPart = z.object({
  environment,
  sequence: z.int().positive(),
  epoch: z.int().positive(),
  previous: sha256.nullable(),
  rollbackTo: z.object({ sequence: z.int().positive(), digest: sha256 }).nullable(),
  definition: sha256,
  template: sha256,
  source: z.object({ gitCommit: commit }),
  requestedBy: z.string(),
  approvedBy: z.array(z.string()),
  plan: sha256,
})

const keySummary = summary.extend({
  policy: z.object({ uri: z.string(), digest: sha256 }),
  inputAttestations: z.array(z.object({ uri: z.string().max(2048), digest: sha256 })).max(1000),
})

/** The level that a key claims: `KILN_PROMOTED_<APP>_<ENVIRONMENT>`. */
export function levelOf(app: string, own: string): string {
  return `KILN_PROMOTED_${app}_${own}`.toUpperCase().replaceAll('-', '_')
}

/** The specification's word for no claim. slsa-verifier takes no summary that has it, so none is claimed. */
const unevaluated = 'SLSA_BUILD_LEVEL_UNEVALUATED'

export function policyPrefix(origin: string): string {
  return `https://${origin}/policies/`
}

function keyPartName(origin: string): string {
  return `https://${origin}/provisioning-key/v1`
}

export function keyPredicate(signable: SignableOf<'key'>, origin: string): object {
  const { body, policy, inputs } = signable
  const { app, environment: own } = parseEnvironmentName(body.environment)
  return {
    verifier: { id: `https://${origin}/promoter/v1`, version: { kiln: signable.version } },
    timeVerified: signable.time,
    resourceUri: `oci://${origin}/${app}?environment=${own}`,
    policy: {
      uri: `${policyPrefix(origin)}${policy.name}`,
      digest: { sha256: hexOf(policy.digest) },
    },
    inputAttestations: inputs.map((input) => ({
      uri: input.uri,
      digest: { sha256: hexOf(input.digest) },
    })),
    verificationResult: 'PASSED',
    verifiedLevels: [...(signable.unevaluated ? [unevaluated] : []), levelOf(app, own)],
    slsaVersion,
    [keyPartName(origin)]: {
      environment: body.environment,
      sequence: body.sequence,
      epoch: body.epoch,
      previous: body.previous === null ? null : { sha256: body.previous },
      rollbackTo:
        body.rollbackTo === null
          ? null
          : {
              sequence: body.rollbackTo.sequence,
              digest: { sha256: hexOf(body.rollbackTo.digest) },
            },
      definition: { sha256: hexOf(body.definition) },
      template: { sha256: hexOf(body.template) },
      source: { gitCommit: body.commit },
      requestedBy: body.requestedBy,
      approvedBy: body.approvedBy,
      plan: { sha256: hexOf(body.plan) },
    },
  }
}

export function readKey(statement: Statement, origin: string): SignableOf<'key'> {
  const outer = checkPart(keySummary, statement.predicate, 'predicate')
  const part = checkPart(keyPart, outer[keyPartName(origin)], 'predicate.provisioning-key')
  const { previous, rollbackTo, definition, template, source, plan, ...rest } = part
  const body = {
    ...rest,
    previous: previous?.sha256 ?? null,
    rollbackTo: rollbackTo && {
      sequence: rollbackTo.sequence,
      digest: digestOfHex(rollbackTo.digest.sha256),
    },
    digest: digestOfHex(statement.subject[0].digest.sha256),
    definition: digestOfHex(definition.sha256),
    template: digestOfHex(template.sha256),
    commit: source.gitCommit,
    plan: digestOfHex(plan.sha256),
  }
  const prefix = policyPrefix(origin)
  if (!outer.policy.uri.startsWith(prefix)) throw wrongStatement('policy', 'predicate.policy.uri')
  return {
    kind: 'key',
    time: outer.timeVerified,
    version: outer.verifier.version.kiln,
    policy: {
      name: outer.policy.uri.slice(prefix.length),
      digest: digestOfHex(outer.policy.digest.sha256),
    },
    inputs: outer.inputAttestations.map((input) => ({
      uri: input.uri,
      digest: digestOfHex(input.digest.sha256),
    })),
    ...(outer.verifiedLevels.includes(unevaluated) ? { unevaluated: true } : {}),
    body: checkPart(keyBody, body, 'predicate.provisioning-key'),
  }
}
