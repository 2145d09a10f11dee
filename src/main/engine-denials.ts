import { setTimeout as sleep } from 'node:timers/promises'
import type { DenialRequest } from '../domain/denial.ts'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { hasEnded, type Operation } from '../domain/operation.ts'
import { nextLookMs } from './look.ts'
import { ignoreStarted, once, query, type Workflows } from './engine-parts.ts'
import { environmentWorkflowId } from './operation-ids.ts'

/** Denials, and the changes that follow them. */
export function engineDenials(workflow: Workflows) {
  return {
    /** The change as it ended, good or bad; throws `not_found` when nobody knows of it. */
    async changeEnded(environment: EnvironmentName, change: string): Promise<Operation> {
      const handle = workflow.getHandle(environmentWorkflowId(environment))
      const since = performance.now()
      for (;;) {
        const operation = await query<Operation>(handle.query('operation', change))
        if (operation === null) throw new KilnError('not_found', `no operation is called ${change}`)
        if (hasEnded(operation)) return operation
        await sleep(nextLookMs(performance.now() - since))
      }
    },

    async startRevocation(request: DenialRequest): Promise<void> {
      await workflow
        .start('revoke', { ...once, workflowId: request.id, args: [request] })
        .catch(ignoreStarted)
    },
  }
}
