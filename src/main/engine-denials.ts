import { setTimeout as sleep } from 'node:timers/promises'
import type { DenialRequest } from '../domain/denial.ts'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { hasEnded, type Operation } from '../domain/operation.ts'
import { ignoreStarted, once, query, type Workflows } from './engine-parts.ts'
import { environmentWorkflowId } from './operation-ids.ts'

/** How often a change that somebody waits for is looked at, in milliseconds. */
const lookMs = 200

/** Denials, and the changes that follow them. */
export function engineDenials(workflow: Workflows) {
  return {
    /** The change as it ended, good or bad; throws `not_found` when nobody knows of it. */
    async changeEnded(environment: EnvironmentName, change: string): Promise<Operation> {
      const handle = workflow.getHandle(environmentWorkflowId(environment))
      for (;;) {
        const operation = await query<Operation>(handle.query('operation', change))
        if (operation === null) throw new KilnError('not_found', `no operation is called ${change}`)
        if (hasEnded(operation)) return operation
        await sleep(lookMs)
      }
    },

    async startRevocation(request: DenialRequest): Promise<void> {
      await workflow
        .start('revoke', { ...once, workflowId: request.id, args: [request] })
        .catch(ignoreStarted)
    },
  }
}
