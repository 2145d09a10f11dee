import { WorkflowNotFoundError, type Client } from '@temporalio/client'

/** What the parts of Kiln's use of Temporal have in common. */

export type Workflows = Client['workflow']

export const taskQueue = 'control'
/** A workflow that runs is joined, one that ended well is not run again, one that failed may be. */
export const once = {
  taskQueue,
  workflowIdConflictPolicy: 'USE_EXISTING',
  workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
} as const

export async function query<T>(answer: Promise<unknown>): Promise<T | null> {
  const value = await answer.catch(ignoreMissing)
  return (value ?? null) as T | null
}

export function ignoreMissing(error: unknown): undefined {
  if (error instanceof WorkflowNotFoundError) return undefined
  throw error
}

/** It ended well before: its result stands. */
export function ignoreStarted(error: unknown): undefined {
  if (error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')
    return undefined
  throw error
}
