import { isErrorCode } from '../domain/error.ts'
import type { Failure, Operation, OperationKind, OperationState } from '../domain/operation.ts'
import type { Fact, FactOf } from '../domain/statement.ts'
import { deliveryId } from './operation-ids.ts'

/**
 * What the log says of an operation that Temporal has forgotten: how it ended, without the single steps.
 * Undefined when the log does not name it, or not its end. Pure.
 */
export function recordedOperation(facts: readonly Fact[], id: string): Operation | undefined {
  if (id.startsWith('change.')) return recordedChange(facts, id)
  for (const fact of facts.toReversed()) {
    if (fact.kind !== 'sealed' && fact.kind !== 'rejected') continue
    const { build, source } = fact.body
    if (build === id) return recordedBuild(fact, { id, kind: 'build' })
    if (deliveryId(source.repository, source.commit, '') === id) {
      return recordedBuild(fact, { id, kind: 'delivery' })
    }
  }
  return undefined
}

function recordedBuild(
  fact: FactOf<'sealed'> | FactOf<'rejected'>,
  { id, kind }: { id: string; kind: OperationKind },
): Operation {
  const { app, source, build } = fact.body
  const base = { id, kind, subject: `${app}@${source.commit}`, requestedBy: '', time: fact.time }
  if (fact.kind === 'sealed') {
    return operationOf({ ...base, state: 'succeeded', result: { build, digest: fact.artifact } })
  }
  const { code, message } = fact.body
  return operationOf({
    ...base,
    state: 'failed',
    result: { build },
    failure: failureOf(code, message),
  })
}

/** The change that has an outcome: of those that lost their race there may be more under the id. */
function recordedChange(facts: readonly Fact[], id: string): Operation | undefined {
  const outcome = facts.findLast(
    (fact) => fact.kind === 'activation' && fact.body.change === id,
  ) as FactOf<'activation'> | undefined
  if (outcome === undefined) return recordedAnswer(facts, id)
  const change = facts.find(
    (fact) =>
      fact.kind === 'change' && fact.body.change === id && fact.body.epoch === outcome.body.epoch,
  ) as FactOf<'change'> | undefined
  if (change === undefined) return undefined
  const { environment, changeKind, requestedBy, epoch, target } = change.body
  const { failure, serving } = outcome.body
  return operationOf({
    id,
    kind: changeKind,
    subject: environment,
    requestedBy,
    time: change.time,
    endedAt: outcome.time,
    state: outcome.body.outcome === 'active' ? 'succeeded' : 'failed',
    result: { epoch, digest: target.digest, sequence: serving?.sequence ?? null },
    ...(failure === null ? {} : { failure: failureOf(failure.code, failure.message) }),
  })
}

/** Requests that ended without a change. */
function recordedAnswer(facts: readonly Fact[], id: string): Operation | undefined {
  for (const fact of facts) {
    if (fact.kind === 'refusal' && fact.body.change === id) {
      const { rule, message, environment, requestedBy } = fact.body
      return operationOf({
        id,
        // The refusal does not say what was asked for; a promotion is what most ask.
        kind: 'promotion',
        subject: environment ?? '',
        requestedBy,
        time: fact.time,
        state: 'refused',
        result: { rule },
        failure: { ...failureOf('refused', message), place: rule },
      })
    }
  }
  return undefined
}

type Recorded = Pick<Operation, 'id' | 'kind' | 'subject' | 'requestedBy' | 'result'> & {
  state: OperationState
  time: string
  endedAt?: string
  failure?: Failure
}

function operationOf({ time, endedAt = time, failure, ...recorded }: Recorded): Operation {
  return { ...recorded, requestedAt: time, endedAt, steps: [], failure: failure ?? null }
}

function failureOf(code: string, message: string): Failure {
  return {
    code: isErrorCode(code) ? code : 'internal',
    message,
    place: null,
    fix: null,
    lines: [],
  }
}
