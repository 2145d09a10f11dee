import {
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow'
import type { Principal } from '../src/domain/statement.ts'
import { builder, control, waiting } from './activities.ts'
import { failureOf } from './tracking.ts'

export type WatchInput = {
  repository: string
  branches: readonly string[]
  everyMs: number
  principal: Principal
  since: string
  seen?: Readonly<Record<string, string>>
}

export type WatchState = {
  repository: string
  branches: readonly string[]
  everyMs: number
  heads: Readonly<Record<string, string>>
  requestedBy: string
  since: string
  /** Why the last look failed; null when it did not. */
  lastError: { code: string; message: string } | null
}

export const watchQuery = defineQuery<WatchState>('watch')
/** Looks now instead of at the next interval. */
export const lookSignal = defineSignal('look')
export const stopSignal = defineSignal('stop')

/** Polls a repository's branches; each new head is delivered once, whoever else announces it. */
export async function watchRepository(input: WatchInput): Promise<void> {
  const heads: Record<string, string> = { ...input.seen }
  let lastError: WatchState['lastError'] = null
  const asked = { look: false, stop: false }
  setHandler(watchQuery, () => ({
    repository: input.repository,
    branches: input.branches,
    everyMs: input.everyMs,
    heads,
    requestedBy: input.principal.name,
    since: input.since,
    lastError,
  }))
  setHandler(lookSignal, () => {
    asked.look = true
  })
  setHandler(stopSignal, () => {
    asked.stop = true
  })
  await control.authorizeWork({
    principal: input.principal,
    verb: 'watch',
    resource: input.repository,
  })
  while (!asked.stop) {
    asked.look = false
    try {
      const found = await builder.readHeads({
        repository: input.repository,
        branches: [...input.branches],
      })
      for (const { branch, commit } of found) {
        if (heads[branch] === commit) continue
        // One at a time: an older commit's slow build can then never overtake a newer one's.
        await waiting.runDelivery({ repository: input.repository, commit })
        heads[branch] = commit
      }
      lastError = null
    } catch (error) {
      // A repository that cannot be reached is looked at again; one bad commit never stops the watch.
      const { code, message } = failureOf(error)
      lastError = { code, message }
    }
    if (workflowInfo().historyLength > 4000 || workflowInfo().continueAsNewSuggested) {
      await continueAsNew<typeof watchRepository>({ ...input, seen: heads })
    }
    await condition(() => asked.look || asked.stop, input.everyMs)
  }
}
