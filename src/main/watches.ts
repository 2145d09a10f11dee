import { WorkflowNotFoundError, type Client } from '@temporalio/client'
import type { Watch, Watches } from '../api/ports.ts'
import type { WatchHint, WatchInput, WatchState } from '../../workflows/watch-repository.ts'
import { assertNoSecret } from './checked-address.ts'
import { tailFrom } from './operation-ids.ts'

/** What a forge announced: the watch looks now, and says what it found. */
type Hinted = Watches & { hint: (id: string, hint: WatchHint) => Promise<void> }

/** Watched repositories: one workflow each, `watch.<hash of the repository>`. */
export function createWatches({ workflow }: Client, everyMs: number): Hinted {
  const show = async (id: string): Promise<Watch | undefined> => {
    try {
      const state = await workflow.getHandle(id).query<WatchState>('watch')
      return {
        id,
        repository: state.repository,
        branches: [...state.branches],
        requestedBy: state.requestedBy,
        since: state.since,
        lastCommit: Object.values(state.heads).at(-1) ?? null,
        failure: state.lastError,
      }
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined
      throw error
    }
  }
  return {
    async start({ principal }, { repository, branches }) {
      assertNoSecret(repository)
      const id = `watch.${tailFrom(repository)}`
      const since = new Date().toISOString()
      const input: WatchInput = { repository, branches, everyMs, principal, since }
      await workflow.start('watchRepository', {
        workflowId: id,
        taskQueue: 'control',
        args: [input],
        workflowIdConflictPolicy: 'TERMINATE_EXISTING',
      })
      const shown = await show(id)
      if (shown === undefined) throw new Error(`the watch ${id} did not start`)
      return shown
    },
    async stop(_asked, id) {
      const shown = (await running(workflow, id)) ? await show(id) : undefined
      if (shown !== undefined) await workflow.getHandle(id).signal('stop')
      return shown
    },
    hint: (id, hint) => workflow.getHandle(id).signal<[WatchHint]>('hint', hint),
    async list() {
      const watches: Watch[] = []
      const query = `WorkflowType = 'watchRepository' AND ExecutionStatus = 'Running'`
      for await (const { workflowId } of workflow.list({ query })) {
        const shown = await show(workflowId)
        if (shown !== undefined) watches.push(shown)
      }
      return watches
    },
  }
}

async function running(workflow: Client['workflow'], id: string): Promise<boolean> {
  try {
    return (await workflow.getHandle(id).describe()).status.name === 'RUNNING'
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}
