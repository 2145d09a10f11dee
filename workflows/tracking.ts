import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  isCancellation,
  TimeoutFailure,
} from '@temporalio/workflow'
import { isErrorCode } from '../src/domain/error.ts'
import type { Failure, Operation, OperationKind, Step } from '../src/domain/operation.ts'

/** An operation that its workflow is writing: the same record that queries and the API show. */
export type Tracked = { -readonly [K in keyof Operation]: Operation[K] } & { steps: Step[] }

export function track(input: {
  id: string
  kind: OperationKind
  subject: string
  requestedBy: string
  requestedAt: string
}): Tracked {
  return { ...input, state: 'queued', endedAt: null, steps: [], result: {}, failure: null }
}

function now(): string {
  return new Date().toISOString()
}

/** Runs one step and keeps its record: started, ended, how it went. */
export async function step<T>(
  operation: Tracked,
  name: string,
  work: (note: (detail: string) => void) => Promise<T>,
): Promise<T> {
  const record: Step = {
    name,
    state: 'running',
    startedAt: now(),
    endedAt: null,
    attempt: 1,
    detail: null,
  }
  operation.steps.push(record)
  try {
    const result = await work((detail) => {
      record.detail = detail
    })
    record.state = 'done'
    return result
  } catch (error) {
    record.state = 'failed'
    record.detail = failureOf(error).message
    throw error
  } finally {
    record.endedAt = now()
  }
}

export function ended(
  operation: Tracked,
  state: Exclude<Operation['state'], 'queued' | 'running'>,
  more: { result?: Operation['result']; failure?: Failure } = {},
): void {
  operation.state = state
  operation.endedAt = now()
  if (more.result !== undefined) operation.result = { ...operation.result, ...more.result }
  if (more.failure !== undefined) operation.failure = more.failure
}

/** Activities put a whole `Failure` into their error's details; whatever else went wrong gets the nearest code. */
export function failureOf(error: unknown): Failure {
  const cause = error instanceof ActivityFailure ? error.cause : error
  if (cause instanceof ApplicationFailure) {
    const detail: unknown = cause.details?.[0]
    if (isFailure(detail)) return detail
    return plainFailure(isErrorCode(cause.type ?? '') ? cause.type : 'internal', cause.message)
  }
  if (cause instanceof TimeoutFailure)
    return plainFailure('wait_timeout', 'a step did not end in time')
  if (cause instanceof CancelledFailure) return plainFailure('change_failed', 'cancelled')
  return plainFailure('internal', cause instanceof Error ? cause.message : 'unknown failure')
}

function plainFailure(code: unknown, message: string): Failure {
  return {
    code: typeof code === 'string' && isErrorCode(code) ? code : 'internal',
    message,
    place: null,
    fix: null,
    lines: [],
  }
}

function isFailure(value: unknown): value is Failure {
  return (
    typeof value === 'object' &&
    value !== null &&
    'code' in value &&
    'message' in value &&
    'lines' in value
  )
}

/** Does an operation's work; what goes wrong ends the operation, and its workflow with the same words. */
export async function carry(operation: Tracked, work: () => Promise<void>): Promise<void> {
  operation.state = 'running'
  try {
    await work()
  } catch (error) {
    ended(operation, isCancellation(error) ? 'cancelled' : 'failed', { failure: failureOf(error) })
    throwIfFailed(operation)
    throw error
  }
}

/** Ends a workflow as its operation ended, so that Temporal's own list says failed where Kiln's does. */
export function throwIfFailed({ failure, state }: Tracked): void {
  if (state !== 'failed' || failure === null) return
  throw asThrown(failure)
}

/** What a workflow ends with, so that who waits for it is told the same as who watches. */
export function asThrown(failure: Failure): ApplicationFailure {
  const { message, code: type } = failure
  return ApplicationFailure.create({ message, type, nonRetryable: true, details: [failure] })
}
