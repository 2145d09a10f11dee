import { ApplicationFailure } from '@temporalio/common'
import { MockActivityEnvironment } from '@temporalio/testing'
import { DefaultLogger } from '@temporalio/worker'
import { pino } from 'pino'
import { expect } from 'vitest'
import { errors, type ErrorCode } from '../../src/domain/error.ts'
import { activityInterceptor } from '../../src/main/temporal.ts'

/** Runs work as a worker of Kiln does, by the worker's own interceptor, and keeps the worker's log. */
export function workerAtHand() {
  const lines: Record<string, unknown>[] = []
  const logger = pino(
    { level: 'info' },
    { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  const run = <T>(work: () => Promise<T>): Promise<T> =>
    new MockActivityEnvironment(
      {},
      {
        interceptors: [() => ({ inbound: activityInterceptor(logger, undefined) })],
        logger: new DefaultLogger('ERROR'),
      },
    ).run(work) as Promise<T>
  /** How work was refused, once it is in the log as it is told. */
  async function failureOf(work: () => Promise<unknown>): Promise<ApplicationFailure> {
    const before = lines.length
    const failure = await run(work).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toBeInstanceOf(ApplicationFailure)
    const { type, message, details } = failure as ApplicationFailure
    const [{ place }] = (details ?? [{ place: null }]) as [{ place: string | null }]
    expect(lines.slice(before)).toEqual([
      expect.objectContaining({ code: type, place, error: message }),
    ])
    return failure as ApplicationFailure
  }
  return {
    lines,
    logger,
    run,
    async told(work: () => Promise<unknown>): Promise<{ code: string; again: boolean }> {
      const { type, nonRetryable } = await failureOf(work)
      return { code: String(type), again: !nonRetryable }
    },
    /**
     * That the work is refused with this code, for good unless the code says otherwise, names a place, and
     * stands in the log as it is told.
     */
    async refused(code: ErrorCode, message: string, work: () => Promise<unknown>): Promise<void> {
      const { type, nonRetryable, details } = await failureOf(work)
      const told = details?.[0] as { message: string; place: string | null }
      expect({ type, nonRetryable }).toEqual({ type: code, nonRetryable: !errors[code].retryable })
      expect(told.message).toContain(message)
      // oxlint-disable-next-line no-control-regex
      expect(told.place).toMatch(/^[^\u0000-\u001f]+$/)
    },
  }
}
