import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  setHandler,
  workflowInfo,
  ApplicationFailure,
} from '@temporalio/workflow'
import type { Operation } from '../src/domain/operation.ts'
import { changeId, type ChangeRequest, type Drift } from '../src/domain/request.ts'
import type { EnvironmentName } from '../src/domain/name.ts'
import { carryOut } from './change.ts'
import { ended, failureOf, track, type Tracked } from './tracking.ts'

/** Asks for a change; answers with the operation's id at once. The same request again is the same operation. */
export const requestUpdate = defineUpdate<{ operation: string }, [ChangeRequest]>('request')
/** Withdraws a change that waits, or ends one whose traffic has not moved yet. */
export const cancelUpdate = defineUpdate<{ state: Operation['state'] }, [string]>('cancel')
/** The host saw instances that differ from what they should be. */
export const driftSignal = defineSignal<[readonly Drift[]]>('drift')
export const operationQuery = defineQuery<Operation | null, [string]>('operation')
export const operationsQuery = defineQuery<Operation[]>('operations')

export type EnvironmentInput = {
  environment: EnvironmentName
  /** The host whose worker runs the instances: its task queue is `host.<name>`. */
  host: string
  carried?: { waiting: readonly Waiting[]; past: readonly Operation[]; drifts: readonly Drift[] }
}

type Waiting = { request: ChangeRequest; operation: Tracked }

/** Requests that may wait in one environment; one more is refused as overload (I18). */
const waitingLimit = 16
/** Ended operations kept for followers; older ones are in the ledger. */
const pastLimit = 40
/** A history grows by about sixty events a change; the server's own limit is 51,200. */
const historyLimit = 4000

/**
 * One environment, for as long as it exists: requests queue here, one change runs at a time, a newer
 * waiting promotion supersedes an older one. What is decided is in the ledger; this is work in flight.
 */
export async function environment(input: EnvironmentInput): Promise<void> {
  const waiting: Waiting[] = [...(input.carried?.waiting ?? [])]
  const past: Operation[] = [...(input.carried?.past ?? [])]
  let drifts: Drift[] = [...(input.carried?.drifts ?? [])]
  let current: { operation: Tracked; cancel: boolean } | null = null

  const all = () => [...past, ...(current === null ? [] : [current.operation]), ...waiting.map((one) => one.operation)]
  const find = (id: string) => all().find((operation) => operation.id === id) ?? null

  setHandler(operationQuery, find)
  setHandler(operationsQuery, all)
  setHandler(driftSignal, (found) => {
    drifts = [...drifts, ...found].slice(-100)
  })
  setHandler(
    requestUpdate,
    (request) => {
      if (find(request.id) === null) {
        if (request.wish.kind === 'promotion') supersede(waiting, past, request)
        waiting.push({ request, operation: begin(request) })
      }
      return { operation: request.id }
    },
    {
      validator: (request) => {
        if (request.environment !== input.environment) {
          throw ApplicationFailure.nonRetryable('the request is for another environment', 'invalid_input')
        }
        if (find(request.id) === null && waiting.length >= waitingLimit) {
          throw ApplicationFailure.nonRetryable(`${waiting.length} requests wait already`, 'overloaded')
        }
      },
    },
  )
  setHandler(cancelUpdate, (id) => {
    const at = waiting.findIndex((one) => one.operation.id === id)
    if (at >= 0) {
      for (const { operation } of waiting.splice(at, 1)) {
        ended(operation, 'cancelled')
        past.push(operation)
      }
    } else if (current?.operation.id === id) current.cancel = true
    return { state: find(id)?.state ?? 'cancelled' }
  })

  for (;;) {
    await condition(() => waiting.length > 0 || drifts.length > 0)
    if (waiting.length === 0) {
      const found = drifts
      drifts = []
      const request = replacement(input.environment, found)
      waiting.push({ request, operation: begin(request) })
    }
    const next = waiting.shift()
    if (next === undefined) continue
    current = { operation: next.operation, cancel: false }
    const running = current
    await carryOut({
      request: next.request,
      host: input.host,
      operation: next.operation,
      cancelled: () => running.cancel,
    }).catch((error: unknown) => ended(next.operation, 'failed', { failure: failureOf(error) }))
    past.push(next.operation)
    past.splice(0, Math.max(0, past.length - pastLimit))
    current = null
    if (workflowInfo().historyLength > historyLimit || workflowInfo().continueAsNewSuggested) {
      await condition(allHandlersFinished)
      await continueAsNew<typeof environment>({ ...input, carried: { waiting, past, drifts } })
    }
  }
}

function begin(request: ChangeRequest): Tracked {
  return track({
    id: request.id,
    kind: request.wish.kind === 'release' ? 'release' : request.wish.kind,
    subject: request.environment,
    requestedBy: request.principal.name,
    requestedAt: request.requestedAt,
  })
}

/** A newer promotion that waits takes the place of older promotions that wait; nothing of them had begun. */
function supersede(waiting: Waiting[], past: Operation[], by: ChangeRequest): void {
  for (const one of waiting.filter((other) => other.request.wish.kind === 'promotion')) {
    waiting.splice(waiting.indexOf(one), 1)
    ended(one.operation, 'superseded', { result: { supersededBy: by.id } })
    past.push(one.operation)
  }
}

function replacement(environmentName: EnvironmentName, drifts: readonly Drift[]): ChangeRequest {
  const first = drifts[0]
  return {
    id: changeId(environmentName, `drift-${workflowInfo().runId.slice(0, 8)}-${workflowInfo().historyLength}`),
    environment: environmentName,
    wish: { kind: 'replacement', drifts },
    reason: first === undefined ? 'drift' : `${first.instance} ${first.cause}`,
    principal: { name: 'kiln', kind: 'kiln' },
    requestedAt: new Date().toISOString(),
  }
}

