import {
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow'
import type { Forge } from '../src/source/forge.ts'
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
  hints?: readonly WatchHint[]
}

/** What a forge announced under its delivery's id: to be checked, never to be built. */
export type WatchHint = { forge: Forge; delivery: string; branch: string; commit: string }

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
/** Looks now, and puts on record whether what was announced is there. */
export const hintSignal = defineSignal<[WatchHint]>('hint')
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
  const hints: WatchHint[] = [...(input.hints ?? [])]
  setHandler(hintSignal, (hint) => {
    asked.look = true
    if (hints.length < maxHints) hints.push(hint)
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
    const announced = hints.splice(0)
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
    await settle(input, announced, heads)
    if (workflowInfo().historyLength > 4000 || workflowInfo().continueAsNewSuggested) {
      await continueAsNew<typeof watchRepository>({ ...input, seen: heads, hints })
    }
    await condition(() => asked.look || asked.stop, input.everyMs)
  }
}

/** More at once are not told apart: the look that they asked for is one. */
const maxHints = 100

/** The repository says whether an announced commit is on the branch; one that is not is refused. */
async function settle(
  { repository }: WatchInput,
  hints: readonly WatchHint[],
  heads: Readonly<Record<string, string>>,
): Promise<void> {
  for (const { branch, commit, forge, delivery } of hints) {
    const end = await judge({ repository, branch, commit, head: heads[branch] })
    await control.recordHint({ forge, delivery, ...end })
  }
}

type Announced = { repository: string; branch: string; commit: string; head: string | undefined }

async function judge({ repository, branch, commit, head }: Announced) {
  if (head === commit) return { result: 'looked', message: `${branch} is at ${commit}` } as const
  try {
    if (await builder.isOnBranch({ repository, branches: [branch], commit })) {
      const message = `${branch} has moved on from ${commit}`
      return { result: 'looked', message } as const
    }
    return {
      result: 'refused',
      message: `${commit} is not on ${branch}: nothing is built`,
    } as const
  } catch (error) {
    const { code, message } = failureOf(error)
    return {
      result: 'refused',
      message: `${commit} could not be found: ${code} ${message}`,
    } as const
  }
}
