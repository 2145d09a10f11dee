import { ApplicationFailure } from '@temporalio/common'
import { errors, KilnError } from '../domain/error.ts'
import type { Failure } from '../domain/operation.ts'

/** An error as every interface shows it. What is not Kiln's own error is `internal`, its text kept short. */
export function toFailure(error: unknown): Failure {
  if (error instanceof KilnError) {
    return {
      code: error.code,
      message: error.message,
      place: error.place ?? null,
      fix: error.fix ?? null,
      lines: error.lines.slice(-20).map((line) => line.slice(0, 500)),
    }
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'internal', message: message.slice(0, 500), place: null, fix: null, lines: [] }
}

/** An error as Temporal carries it: the code as its type, retried only where that can help. */
export function toApplicationFailure(error: unknown): ApplicationFailure {
  const failure = toFailure(error)
  return ApplicationFailure.create({
    message: failure.message,
    type: failure.code,
    nonRetryable: !errors[failure.code].retryable,
    details: [failure],
  })
}
