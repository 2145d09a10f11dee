import { Client, Connection } from '@temporalio/client'
import { Context } from '@temporalio/activity'
import { ApplicationFailure, CancelledFailure } from '@temporalio/common'
import {
  NativeConnection,
  Runtime,
  Worker,
  type ActivityInboundCallsInterceptor,
} from '@temporalio/worker'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { KilnError } from '../domain/error.ts'
import { toApplicationFailure, toFailure } from './failure.ts'
import { openInFlight, type InFlight } from './in-flight.ts'
import type { ProcessContext } from './process.ts'

/** A running activity's side of the work: it is told when to give up, and says that it lives. */
export type ActivityPort = () => { signal: AbortSignal; heartbeat: (detail?: unknown) => void }

/** Outside an activity (a local verb, a test) nothing aborts and nobody listens for heartbeats. */
export const temporalActivity: ActivityPort = () => {
  const context = Context.current()
  return { signal: context.cancellationSignal, heartbeat: (detail) => context.heartbeat(detail) }
}

export async function connectClient(address: string): Promise<Client> {
  try {
    const connection = await Connection.connect({ address, connectTimeout: '10 seconds' })
    return new Client({ connection })
  } catch (error) {
    throw new KilnError('not_running', `Temporal does not answer at ${address}`, {
      cause: error,
      fix: 'kiln doctor',
    })
  }
}

/** Errors become typed failures, and a heartbeat goes on for as long as an activity runs. */
export function activityInterceptor(
  logger: Logger,
  inFlight: InFlight | undefined,
): ActivityInboundCallsInterceptor {
  return {
    async execute(input, next) {
      const context = Context.current()
      const beat = setInterval(() => context.heartbeat(), 2000)
      const { activityType, attempt, base64TaskToken } = context.info
      const done = inFlight?.take(base64TaskToken)
      try {
        return await next(input)
      } catch (error) {
        if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error
        const failure = toApplicationFailure(error)
        logger.warn(
          {
            activity: activityType,
            attempt,
            code: failure.type,
            place: toFailure(error).place,
            error: failure.message,
          },
          'activity failed',
        )
        if (failure.type === 'internal') logger.error({ err: error }, 'unexpected error')
        throw failure
      } finally {
        clearInterval(beat)
        done?.()
      }
    },
  }
}

/** Temporal's own log goes into the process's log; called once, before any worker. */
export function installRuntime(logger: Logger): void {
  Runtime.install({
    logger: {
      log: (_level, message) => logger.debug(message),
      trace: () => undefined,
      debug: () => undefined,
      info: (message) => logger.debug(message),
      warn: (message, meta) => logger.warn(meta ?? {}, message),
      error: (message, meta) => logger.error(meta ?? {}, message),
    },
    shutdownSignals: [],
  })
}

/** What the process took before it was killed is tried again now, not once its silence is noticed. */
async function giveBack(
  tokens: readonly string[],
  { address, logger }: { address: string; logger: Logger },
): Promise<void> {
  if (tokens.length === 0) return
  const client = await connectClient(address)
  const failure = ApplicationFailure.retryable('the process that did this ended', 'internal')
  for (const token of tokens) {
    // It may have timed out or ended since; and what cannot be given back is noticed by its silence.
    await client.activity
      .fail(Buffer.from(token, 'base64'), failure)
      .catch((error: unknown) => logger.debug({ err: error }, 'not given back'))
  }
  logger.info(
    { activities: tokens.length },
    'what was in work when the process ended is done again',
  )
  await client.connection.close()
}

/** What the workers of all processes have in common. */
export function workerIn(
  { config, paths, logger }: Pick<ProcessContext, 'config' | 'paths' | 'logger'>,
  process: string,
): { address: string; inFlight: string; logger: Logger } {
  return { address: config.temporal.address, inFlight: join(paths.inFlight, process), logger }
}

export async function createWorker(input: {
  address: string
  taskQueue: string
  activities: object
  /** Path of the prebuilt workflow bundle; workers of builds and hosts run no workflows. */
  bundlePath?: string
  concurrent: number
  logger: Logger
  /** Where this process alone keeps what it has taken; without it a dead worker is noticed by its silence. */
  inFlight?: string
}): Promise<Worker> {
  const inFlight = input.inFlight === undefined ? undefined : openInFlight(input.inFlight)
  if (inFlight !== undefined) await giveBack(inFlight.left, input)
  const connection = await NativeConnection.connect({ address: input.address })
  return Worker.create({
    connection,
    taskQueue: input.taskQueue,
    activities: input.activities,
    maxConcurrentActivityTaskExecutions: input.concurrent,
    maxHeartbeatThrottleInterval: '3 seconds',
    shutdownGraceTime: '5 seconds',
    interceptors: { activity: [() => ({ inbound: activityInterceptor(input.logger, inFlight) })] },
    ...(input.bundlePath === undefined
      ? {}
      : {
          workflowBundle: { codePath: input.bundlePath },
          maxCachedWorkflows: 100,
          // What was promised to a worker that is gone goes to the next one after this.
          stickyQueueScheduleToStartTimeout: '2 seconds',
          workflowThreadPoolSize: 1,
        }),
  })
}
