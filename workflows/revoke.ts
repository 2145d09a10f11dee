import { setHandler } from '@temporalio/workflow'
import { subjectText, type DenialRequest } from '../src/domain/denial.ts'
import type { Failure } from '../src/domain/operation.ts'
import type { Returned, Returning } from '../src/promote/denial-activities.ts'
import { control, waiting } from './activities.ts'
import { progressQuery } from './deliver-commit.ts'
import { ended, failureOf, step, throwIfFailed, track, type Tracked } from './tracking.ts'

/**
 * Deny means replace: the denial is on record first, and from then on nothing starts it; then every
 * environment that serves it returns to its stored rollback target, or stops, all at the same time.
 */
export async function revoke(request: DenialRequest): Promise<void> {
  const operation = track({
    id: request.id,
    kind: 'revocation',
    subject: subjectText(request.subject),
    requestedBy: request.principal.name,
    requestedAt: request.requestedAt,
  })
  setHandler(progressQuery, () => operation)
  operation.state = 'running'
  try {
    await carryThrough(operation, request)
  } catch (error) {
    ended(operation, 'failed', { failure: failureOf(error) })
    throwIfFailed(operation)
  }
}

async function carryThrough(operation: Tracked, request: DenialRequest): Promise<void> {
  const { principal, requestedAt } = request
  const resource = subjectText(request.subject)
  await control.authorizeWork({ principal, verb: 'revoke', resource })
  const denial = await step(operation, 'record denial', () => control.recordDenial(request))
  const { reason, requestedBy, since } = denial
  const { artifacts, unknown } = denial
  operation.result = { denial: denial.leaf, reason, by: requestedBy, since, artifacts, unknown }
  const tail = request.id.split('.').slice(1).join('.')
  const returning = await step(operation, 'find what serves it', async (note) => {
    const found = await control.returnDenied({ tail, reason, principal, requestedAt })
    note(`${found.length} environments`)
    return found
  })
  const ends = await Promise.all(returning.map((one) => awaitReturn(operation, one)))
  const failed = returning.filter((_one, at) => ends[at]?.kind === 'failed')
  if (failed.length === 0) return ended(operation, 'succeeded')
  const failure = stillServing(failed, operation)
  ended(operation, 'failed', { failure })
  throwIfFailed(operation)
}

async function awaitReturn(operation: Tracked, one: Returning): Promise<Returned> {
  return step(operation, one.environment, async (note) => {
    note(one.change)
    const end = await waiting.awaitReturn(one)
    const words = inWords(end)
    note(words)
    operation.result = { ...operation.result, [one.environment]: words }
    return end
  })
}

function inWords(end: Returned): string {
  switch (end.kind) {
    case 'returned':
      return `returned to ${end.digest} (key ${end.sequence})`
    case 'stopped':
      return 'stopped: nothing to return to'
    case 'unaffected':
      return 'serves something else by now'
    case 'failed':
      return `failed: ${end.message}`
  }
}

function stillServing(failed: readonly Returning[], { result }: Tracked): Failure {
  const [first] = failed
  const names = failed.map(({ environment }) => environment)
  return {
    code: 'change_failed',
    message: `it is denied, and ${names.join(', ')} could not be brought away from it; Kiln goes on trying`,
    place: first?.environment ?? null,
    fix: first === undefined ? null : `kiln follow ${first.change}`,
    lines: names.map((name) => `${name}: ${String(result[name])}`),
  }
}
