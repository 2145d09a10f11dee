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
import { authorize } from '../src/domain/authorize.ts'
import type { EnvironmentName } from '../src/domain/name.ts'
import type { Operation } from '../src/domain/operation.ts'
import type { Principal } from '../src/domain/statement.ts'
import { changeId, withDrifts, type ChangeRequest, type Drift } from '../src/domain/request.ts'
import { carryOut, lostWork } from './change.ts'
import { ended, failureOf } from './tracking.ts'
import { WaitingList, type Carried } from './waiting-list.ts'

/** Asks for a change; answers with the operation's id at once. The same request again is the same operation. */
export const requestUpdate = defineUpdate<{ operation: string }, [ChangeRequest]>('request')
/** Withdraws a change that waits, or ends one whose traffic has not moved yet. */
export const cancelUpdate = defineUpdate<
  { state: Operation['state'] },
  [{ operation: string; principal: Principal }]
>('cancel')
/** The host saw instances that differ from what they should be. */
export const driftSignal = defineSignal<[readonly Drift[]]>('drift')
export const operationQuery = defineQuery<Operation | null, [string]>('operation')
export const operationsQuery = defineQuery<Operation[]>('operations')

export type EnvironmentInput = {
  environment: EnvironmentName
  /** The host whose worker runs the instances: its task queue is `host.<name>`. */
  host: string
  carried?: Carried & { drifts: readonly Drift[] }
}

/** A history grows by about sixty events a change; the server's own limit is 51,200. */
const historyLimit = 4000
/** How long an environment rests after work that ended without an outcome. */
const pauseAfterFailure = '30 seconds'
/** Drifts that wait to be recorded; a burst beyond it is one replacement all the same. */
const driftLimit = 100

/**
 * One environment, for as long as it exists: requests queue here, one change runs at a time, a newer
 * waiting promotion supersedes an older one. What is decided is in the ledger; this is work in flight.
 */
export async function environment(input: EnvironmentInput): Promise<void> {
  const list = new WaitingList(input.carried)
  let drifts: Drift[] = [...(input.carried?.drifts ?? [])]
  setHandler(driftSignal, (found) => {
    drifts = withDrifts(drifts, found).slice(-driftLimit)
  })
  answer(input, list)

  while (!(workflowInfo().historyLength > historyLimit || workflowInfo().continueAsNewSuggested)) {
    await condition(() => list.waiting.length > 0 || drifts.length > 0)
    if (list.waiting.length === 0) {
      list.add(replacement(input.environment, drifts))
      drifts = []
    }
    await next(input, list, (drift) => drifts.push(drift))
  }
  await condition(allHandlersFinished)
  await continueAsNew<typeof environment>({
    ...input,
    carried: { waiting: list.waiting, past: list.past, drifts },
  })
}

/** Updates and queries. Validators check only the request's shape; refusals on facts come from the plan and are logged. */
function answer(input: EnvironmentInput, list: WaitingList): void {
  setHandler(operationQuery, (id) => list.find(id))
  setHandler(operationsQuery, () => list.all())
  setHandler(
    requestUpdate,
    (request) => {
      list.add(request)
      return { operation: request.id }
    },
    {
      validator: (request) => {
        if (request.environment !== input.environment) {
          throw ApplicationFailure.nonRetryable(
            'the request is for another environment',
            'invalid_input',
          )
        }
        list.checkRoom(request)
      },
    },
  )
  setHandler(cancelUpdate, ({ operation, principal }) => {
    const verdict = authorize(principal, 'cancel', input.environment)
    if (!verdict.allowed) throw ApplicationFailure.nonRetryable(verdict.message, 'forbidden')
    if (list.find(operation)?.kind === 'return')
      throw ApplicationFailure.nonRetryable('what follows a denial cannot be cancelled', 'refused')
    return { state: list.cancel(operation) }
  })
}

async function next(
  input: EnvironmentInput,
  list: WaitingList,
  notice: (drift: Drift) => void,
): Promise<void> {
  const taken = list.waiting.shift()
  if (taken === undefined) return
  const { operation, request } = taken
  const current = { operation, cancel: false }
  list.current = current
  try {
    const cancelled = () => current.cancel
    await carryOut({ request, host: input.host, operation, cancelled, notice })
    list.keep(operation)
    list.current = null
  } catch (error) {
    ended(operation, 'failed', { failure: failureOf(error) })
    list.keep(operation)
    list.current = null
    // It may have left a change without an outcome: what comes next settles that, a replacement at the latest.
    await condition(() => list.waiting.length > 0, pauseAfterFailure)
    notice(lostWork(request.id))
  }
}

function replacement(environmentName: EnvironmentName, drifts: readonly Drift[]): ChangeRequest {
  const { runId, historyLength } = workflowInfo()
  const [first] = drifts
  return {
    id: changeId(environmentName, `drift-${runId.slice(0, 8)}-${historyLength}`),
    environment: environmentName,
    wish: { kind: 'replacement', drifts },
    reason: first === undefined ? 'drift' : `${first.instance} ${first.cause}`,
    principal: { name: 'kiln', kind: 'kiln' },
    requestedAt: new Date().toISOString(),
  }
}
