import {
  findSigningKey,
  findSubject,
  unknownAncestry,
  type DenialRequest,
  type FoundSubject,
} from '../domain/denial.ts'
import type { DenialBody, Leaf } from '../domain/statement.ts'
import { expectKind, timeOf, type RecordDependencies } from './record.ts'

export type RecordedDenial = DenialBody & {
  leaf: Leaf
  since: string
  /** How many artifacts it reaches, and how many it may miss because of what they stand on nothing is on record. */
  artifacts: number
  unknown: number
}

/**
 * Puts a denial on record. One subject is denied once: whoever was first, and why, stands, and is
 * returned. A signing key that still signs is followed by a new one first: from then on its word counts for
 * nothing, and it does not sign its own denial. Throws `not_found` or `ambiguous` for what Kiln does not know.
 */
export async function recordDenial(
  dependencies: RecordDependencies,
  { subject, reason, principal }: DenialRequest,
): Promise<RecordedDenial> {
  const { name, artifact, app, of } = await find(dependencies, subject)
  const said = { reason, requestedBy: principal.name }
  const { fact, leaf } = await dependencies.decide({
    id: `denial ${name}`,
    signable: {
      kind: 'denial',
      time: timeOf(dependencies),
      version: dependencies.version,
      artifact,
      app,
      body: of === null ? said : { ...said, of },
    },
  })
  const known = await dependencies.ledger()
  const reached = [...known.denied.values()].filter((one) => one.leaf === leaf)
  return {
    ...expectKind(fact, 'denial').body,
    leaf,
    since: fact.time,
    artifacts: reached.length,
    unknown: unknownAncestry(known, of).length,
  }
}

async function find(
  { ledger, signingKeys }: RecordDependencies,
  subject: DenialRequest['subject'],
): Promise<FoundSubject> {
  const known = await ledger()
  if (subject.kind !== 'signing-key') return findSubject(known, subject)
  const key = findSigningKey(await signingKeys.list(), subject.fingerprint)
  if (key.to === null) await signingKeys.follow(key)
  return findSubject(known, subject, await signingKeys.list())
}
