import type { DenialRequest } from '../domain/denial.ts'
import { subjectText } from '../domain/denial.ts'
import { KilnError } from '../domain/error.ts'
import type { DenialBody, Leaf } from '../domain/statement.ts'
import { expectKind, timeOf, type RecordDependencies } from './record.ts'

export type RecordedDenial = DenialBody & { leaf: Leaf; since: string }

/**
 * Puts a denial on record. One subject is denied once: whoever was first, and why, stands, and is
 * returned. Throws `not_found` for what Kiln never made.
 */
export async function recordDenial(
  dependencies: RecordDependencies,
  { subject, reason, principal }: DenialRequest,
): Promise<RecordedDenial> {
  const sealed = (await dependencies.ledger()).sealed.get(subject.digest)
  if (sealed === undefined) {
    throw new KilnError('not_found', `${subject.digest} is not a sealed artifact`, {
      fix: 'kiln history <app> lists what is',
    })
  }
  const { fact, leaf } = await dependencies.decide({
    id: `denial ${subject.kind} ${subjectText(subject)}`,
    signable: {
      kind: 'denial',
      time: timeOf(dependencies),
      version: dependencies.version,
      artifact: subject.digest,
      app: sealed.body.app,
      body: { reason, requestedBy: principal.name },
    },
  })
  return { ...expectKind(fact, 'denial').body, leaf, since: fact.time }
}
