import {
  WithStartWorkflowOperation,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import { randomUUID } from 'node:crypto'
import type { SecretState } from '../api/ports.ts'
import type { Digest } from '../domain/digest.ts'
import { isErrorCode, KilnError } from '../domain/error.ts'
import type { Failure, Operation } from '../domain/operation.ts'
import type { ChangeRequest, Drift } from '../domain/request.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Principal } from '../domain/statement.ts'
import type { BreakGlassInput } from '../../workflows/break-glass.ts'
import type { BuildInput } from '../../workflows/build-artifact.ts'
import type { CheckSecretsInput } from '../../workflows/check-secrets.ts'
import type { DeliveryInput } from '../../workflows/delivery-input.ts'
import type { EnvironmentInput } from '../../workflows/environment.ts'
import type { ScanInput } from '../../workflows/scan-environment.ts'
import type { ScanAnswer } from '../runtime/scan-activities.ts'
import type { RebuildInput } from '../../workflows/rebuild-artifact.ts'
import type { RehearsalInput } from '../../workflows/rehearse.ts'
import { engineDenials } from './engine-denials.ts'
import {
  ignoreMissing,
  ignoreStarted,
  once,
  query,
  taskQueue,
  type Workflows,
} from './engine-parts.ts'
import { environmentWorkflowId } from './operation-ids.ts'

/** Kiln's use of Temporal: starts and asks workflows; one place knows their names and ids. */
export type Engine = ReturnType<typeof createEngine>

export function createEngine({ client, host }: { client: Client; host: string }) {
  const { workflow } = client
  return {
    ...changes(workflow, host),
    ...engineDenials(workflow),
    ...builds(workflow),
    ...looks(workflow),
    ...hosts(workflow, host),
    ...rehearsing(workflow, host),
  }
}

/** Requests to environments. */
function changes(workflow: Workflows, host: string) {
  const environmentStart = (environment: EnvironmentName) => ({
    workflowId: environmentWorkflowId(environment),
    taskQueue,
    args: [{ environment, host } satisfies EnvironmentInput] as [EnvironmentInput],
  })
  const drift = async (environment: EnvironmentName, drifts: readonly Drift[]): Promise<void> => {
    await workflow.signalWithStart('environment', {
      ...environmentStart(environment),
      signal: 'drift',
      signalArgs: [drifts],
    })
  }
  return {
    /** Hands a request to its environment's workflow, which is started where there is none. */
    async request(request: ChangeRequest): Promise<void> {
      const start = new WithStartWorkflowOperation('environment', {
        ...environmentStart(request.environment),
        workflowIdConflictPolicy: 'USE_EXISTING',
      })
      await workflow
        .executeUpdateWithStart('request', {
          updateId: request.id,
          args: [request],
          startWorkflowOperation: start,
        })
        .catch(rethrow)
    },

    drift,

    async cancelChange(
      environment: EnvironmentName,
      asked: { operation: string; principal: Principal },
    ): Promise<void> {
      const handle = workflow.getHandle(environmentWorkflowId(environment))
      await handle.executeUpdate('cancel', { args: [asked] }).catch(rethrow)
    },

    /** Wakes an environment whose change has no outcome though nothing works on it: Temporal was wiped. */
    async wake(environment: EnvironmentName, change: string): Promise<void> {
      const lost: Drift = {
        instance: change,
        cause: 'unknown',
        found: 'the work in flight was lost',
        expected: 'one outcome',
      }
      if (await isRunning(workflow, environmentWorkflowId(environment))) return
      await drift(environment, [lost])
    },
  }
}

async function isRunning(workflow: Workflows, id: string): Promise<boolean> {
  const description = await workflow.getHandle(id).describe().catch(ignoreMissing)
  return description?.status.name === 'RUNNING'
}

/** Deliveries, builds and rebuilds. */
function builds(workflow: Workflows) {
  return {
    async cancelWorkflow(id: string): Promise<void> {
      await workflow.getHandle(id).cancel().catch(ignoreMissing)
    },

    async startDelivery(input: DeliveryInput): Promise<void> {
      await workflow
        .start('deliverCommit', { ...once, workflowId: input.id, args: [input] })
        .catch(ignoreStarted)
    },

    async startRebuild(input: RebuildInput): Promise<void> {
      await workflow
        .start('rebuildArtifact', { ...once, workflowId: input.id, args: [input] })
        .catch(ignoreStarted)
    },

    /** The sealed artifact of a build; joins the build when it runs already. */
    async build(input: BuildInput): Promise<Digest> {
      await workflow
        .start('buildArtifact', { ...once, workflowId: input.id, args: [input] })
        .catch(ignoreStarted)
      return resultOf<Digest>(workflow.getHandle(input.id).result() as Promise<Digest>)
    },

    /** Waits for a delivery's end, good or bad. */
    async awaitDelivery(id: string): Promise<void> {
      await workflow
        .getHandle(id)
        .result()
        .catch((error: unknown) => {
          if (!(error instanceof WorkflowFailedError)) throw error
        })
    },
  }
}

/** Starts of the rollback target, aside. */
function rehearsing(workflow: Workflows, host: string) {
  return {
    async startRehearsal(input: Omit<RehearsalInput, 'host'>): Promise<void> {
      await workflow
        .start('rehearse', { ...once, workflowId: input.id, args: [{ ...input, host }] })
        .catch(ignoreStarted)
    },
  }
}

/** What only a host knows. */
function hosts(workflow: Workflows, host: string) {
  return {
    /** Has the host look in depth. Throws `wait_timeout` when it does not answer, `forbidden`. */
    async scan(environment: EnvironmentName, principal: Principal): Promise<ScanAnswer> {
      const input: ScanInput = { host, environment, principal }
      try {
        return await workflow.execute('scanEnvironment', {
          taskQueue,
          workflowId: `scan.${randomUUID()}`,
          workflowExecutionTimeout: '50 seconds',
          args: [input],
        })
      } catch (error) {
        const told = kilnErrorOf(error)
        if (told instanceof KilnError || !(error instanceof WorkflowFailedError)) throw told
        throw new KilnError('wait_timeout', `the host ${host} does not answer`, {
          cause: error,
          fix: 'kiln status',
        })
      }
    },

    /** Lets a person into an instance, or ends it. Throws `wait_timeout` when nobody works on it. */
    async breakGlass(request: BreakGlassInput['request']): Promise<{ until: string }> {
      const input: BreakGlassInput = { host, request }
      await workflow
        .start('breakGlass', {
          ...once,
          workflowId: request.id,
          workflowExecutionTimeout: '40 seconds',
          args: [input],
        })
        .catch(ignoreStarted)
      try {
        return (await workflow.getHandle(request.id).result()) as { until: string }
      } catch (error) {
        const told = kilnErrorOf(error)
        if (told instanceof KilnError || !(error instanceof WorkflowFailedError)) throw told
        throw new KilnError('wait_timeout', 'it is not on record within 40 s', {
          cause: error,
          fix: 'kiln status',
        })
      }
    },

    /** Which secrets the host has. Throws `wait_timeout` when it does not answer. */
    async checkSecrets(secrets: Readonly<Record<string, string>>): Promise<SecretState[]> {
      const input: CheckSecretsInput = { host, secrets }
      try {
        return await workflow.execute('checkSecrets', {
          taskQueue,
          workflowId: `secrets.${randomUUID()}`,
          workflowExecutionTimeout: '15 seconds',
          args: [input],
        })
      } catch (error) {
        if (!(error instanceof WorkflowFailedError)) throw error
        throw new KilnError('wait_timeout', `the host ${host} does not answer`, {
          cause: error,
          fix: 'kiln status',
        })
      }
    },
  }
}

/** Progress, as the workflows tell it. */
function looks(workflow: Workflows) {
  return {
    async environmentOperation(
      environment: EnvironmentName,
      id: string,
    ): Promise<Operation | null> {
      return query<Operation | null>(
        workflow.getHandle(environmentWorkflowId(environment)).query('operation', id),
      )
    },

    async environmentOperations(environment: EnvironmentName): Promise<Operation[]> {
      const found = await query<Operation[]>(
        workflow.getHandle(environmentWorkflowId(environment)).query('operations'),
      )
      return found ?? []
    },

    async progress(id: string): Promise<Operation | null> {
      return query<Operation>(workflow.getHandle(id).query('progress'))
    },

    /** What the running activity last failed with, by its try: an outage is visible while it lasts. */
    async pending(workflowId: string): Promise<{ attempt: number; error: string | null } | null> {
      const description = await workflow.getHandle(workflowId).describe().catch(ignoreMissing)
      const activity = description?.raw.pendingActivities?.find((one) => (one.attempt ?? 1) > 1)
      if (activity === undefined) return null
      return { attempt: activity.attempt ?? 1, error: activity.lastFailure?.message ?? null }
    },

    /** Ids of the newest deliveries, builds, rebuilds, revocations and rehearsals. */
    async recent(limit: number): Promise<string[]> {
      const ids: string[] = []
      const kinds = `WorkflowType IN ('deliverCommit', 'rebuildArtifact', 'revoke', 'rehearse')`
      for await (const one of workflow.list({ query: kinds, pageSize: limit })) {
        ids.push(one.workflowId)
        if (ids.length >= limit) break
      }
      return ids
    },
  }
}

async function resultOf<T>(result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    throw kilnErrorOf(error)
  }
}

function rethrow(error: unknown): never {
  throw kilnErrorOf(error)
}

/** A workflow's failure as Kiln's own error again. */
function kilnErrorOf(error: unknown): unknown {
  const wrapped = error instanceof WorkflowFailedError || error instanceof WorkflowUpdateFailedError
  const cause = wrapped ? error.cause : undefined
  if (!(cause instanceof ApplicationFailure)) return error
  const failure = cause.details?.[0] as Failure | undefined
  const code = cause.type ?? ''
  if (!isErrorCode(code)) return error
  return new KilnError(code, cause.message, {
    cause: error,
    ...(failure?.place ? { place: failure.place } : {}),
    ...(failure?.fix ? { fix: failure.fix } : {}),
    ...(failure === undefined ? {} : { lines: failure.lines }),
  })
}
