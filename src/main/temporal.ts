import { Client, Connection } from '@temporalio/client'
import { Context } from '@temporalio/activity'
import { ApplicationFailure, CancelledFailure } from '@temporalio/common'
import {
  NativeConnection,
  Runtime,
  Worker,
  type ActivityInboundCallsInterceptor,
} from '@temporalio/worker'
import type { Logger } from 'pino'
import { KilnError } from '../domain/error.ts'
import { toApplicationFailure } from './failure.ts'

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
function interceptor(logger: Logger): ActivityInboundCallsInterceptor {
  return {
    async execute(input, next) {
      const context = Context.current()
      const beat = setInterval(() => context.heartbeat(), 2000)
      const { activityType, attempt } = context.info
      try {
        return await next(input)
      } catch (error) {
        if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error
        const failure = toApplicationFailure(error)
        logger.warn(
          { activity: activityType, attempt, code: failure.type, error: failure.message },
          'activity failed',
        )
        if (failure.type === 'internal') logger.error({ err: error }, 'unexpected error')
        throw failure
      } finally {
        clearInterval(beat)
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

export async function createWorker(input: {
  address: string
  taskQueue: string
  activities: object
  /** Path of the prebuilt workflow bundle; workers of builds and hosts run no workflows. */
  bundlePath?: string
  concurrent: number
  logger: Logger
}): Promise<Worker> {
  const connection = await NativeConnection.connect({ address: input.address })
  return Worker.create({
    connection,
    taskQueue: input.taskQueue,
    activities: input.activities,
    maxConcurrentActivityTaskExecutions: input.concurrent,
    maxHeartbeatThrottleInterval: '3 seconds',
    shutdownGraceTime: '5 seconds',
    interceptors: { activity: [() => ({ inbound: interceptor(input.logger) })] },
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
