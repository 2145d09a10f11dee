import { setTimeout as pause } from 'node:timers/promises'
import { WorkflowNotFoundError, type Client } from '@temporalio/client'
import type { Logger } from 'pino'
import type { Watch, Watches } from '../api/ports.ts'
import { authorize } from '../domain/authorize.ts'
import { KilnError } from '../domain/error.ts'
import type { WatchHint, WatchInput, WatchState } from '../../workflows/watch-repository.ts'
import { assertNoSecret } from './checked-address.ts'
import { readWatchFile, watchIdOf, writeWatchFile, type WantedWatch } from './watch-file.ts'

type Dependencies = {
  client: Client
  /** How often a repository is looked at without a webhook. */
  everyMs: number
  /** The file that says what is watched. */
  file: string
  logger: Logger
}

type Kept = Watches & {
  /** What a forge announced: the watch looks now, and says what it found. */
  hint: (id: string, hint: WatchHint) => Promise<void>
  /** Makes Temporal work on what the file says, and on nothing else. */
  reconcile: () => Promise<void>
  /** Does so again and again, until it is told to end; what fails is tried the next time. */
  keep: (signal: AbortSignal) => Promise<void>
}

/** How long a watch that Temporal lost stays lost. */
const keepEveryMs = 10_000

/**
 * Watched repositories: a file says which, and each has one workflow, `watch.<hash of the repository>`.
 * The file is written before Temporal is told, so a crash between the two is made good by `reconcile`,
 * as is the loss of Temporal's state. A watch that begins anew delivers its branches' heads, of which the
 * ledger knows what was built and promoted before: nothing is done twice.
 */
export function createWatches(dependencies: Dependencies): Kept {
  const { client, file, logger } = dependencies
  const { workflow } = client
  // One at a time: whoever read the file writes it before another does.
  let last: Promise<unknown> = Promise.resolve()
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work)
    last = next.catch(() => undefined)
    return next
  }
  const wanted = async () => (await readWatchFile(file)) ?? adopt(dependencies)
  const reconcile = () => alone(() => settle(dependencies))
  return {
    start: ({ principal }, { repository, branches }) =>
      alone(async () => {
        assertNoSecret(repository)
        demandAllowed({ principal, repository })
        const watch = { repository, branches, principal, since: new Date().toISOString() }
        const others = (await wanted()).filter((one) => one.repository !== repository)
        await writeWatchFile(file, [...others, watch])
        await begin(dependencies, watch)
        return show(workflow, watch)
      }),
    stop: (_asked, id) =>
      alone(async () => {
        const all = await wanted()
        const gone = all.find(({ repository }) => watchIdOf(repository) === id)
        if (gone === undefined) return undefined
        const shown = await show(workflow, gone)
        const left = all.filter((one) => one !== gone)
        await writeWatchFile(file, left)
        await end(workflow, id)
        return shown
      }),
    async hint(id, hint) {
      try {
        await workflow.getHandle(id).signal<[WatchHint]>('hint', hint)
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error
        await reconcile()
        await workflow.getHandle(id).signal<[WatchHint]>('hint', hint)
      }
    },
    list: async () => {
      const all = await alone(wanted)
      return Promise.all(all.map((watch) => show(workflow, watch)))
    },
    reconcile,
    async keep(signal) {
      while (!signal.aborted) {
        await reconcile().catch((error: unknown) => {
          logger.warn({ err: error }, 'cannot see to the watched repositories')
        })
        await pause(keepEveryMs, undefined, { signal }).catch(() => undefined)
      }
    },
  }
}

type Workflows = Client['workflow']

async function settle(dependencies: Dependencies): Promise<void> {
  const { client, file, logger } = dependencies
  const { workflow } = client
  const wanted = ((await readWatchFile(file)) ?? (await adopt(dependencies))).filter(isAllowed)
  for (const watch of wanted) {
    if (await isWorkedOn(workflow, dependencies, watch)) continue
    await begin(dependencies, watch)
    logger.warn({ watch: watchIdOf(watch.repository) }, 'a watch was lost, and is started again')
  }
  const ids = new Set(wanted.map(({ repository }) => watchIdOf(repository)))
  for (const id of await running(workflow)) if (!ids.has(id)) await end(workflow, id)
}

/** A home of a release that left it to Temporal which repositories are watched. */
async function adopt({ client: { workflow }, file }: Dependencies): Promise<WantedWatch[]> {
  const found: WantedWatch[] = []
  for (const id of await running(workflow)) {
    const handle = workflow.getHandle(id)
    // What Temporal lists may be a moment old.
    if ((await handle.describe()).status.name !== 'RUNNING') continue
    const { repository, branches, requestedBy, since } = await handle.query<WatchState>('watch')
    const principal = { name: requestedBy, kind: 'token' } as const
    found.push({ repository, branches, principal, since })
  }
  await writeWatchFile(file, found)
  return found
}

async function running(workflow: Workflows): Promise<string[]> {
  const ids: string[] = []
  const query = `WorkflowType = 'watchRepository' AND ExecutionStatus = 'Running'`
  for await (const { workflowId } of workflow.list({ query })) ids.push(workflowId)
  return ids
}

/** The memo of a watch's workflow: by which wish and how often it looks. */
type Memo = { since: string; everyMs: number }

async function isWorkedOn(
  workflow: Workflows,
  { everyMs }: Pick<Dependencies, 'everyMs'>,
  { repository, since }: WantedWatch,
): Promise<boolean> {
  try {
    const { status, memo } = await workflow.getHandle(watchIdOf(repository)).describe()
    if (status.name !== 'RUNNING') return false
    const told = memo as Partial<Memo> | undefined
    return told?.since === since && told.everyMs === everyMs
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}

async function begin(
  { client: { workflow }, everyMs }: Dependencies,
  { repository, branches, principal, since }: WantedWatch,
): Promise<void> {
  const input: WatchInput = { repository, branches, everyMs, principal, since }
  await workflow.start('watchRepository', {
    workflowId: watchIdOf(repository),
    taskQueue: 'control',
    args: [input],
    memo: { since, everyMs } satisfies Memo,
    workflowIdConflictPolicy: 'TERMINATE_EXISTING',
  })
}

async function end(workflow: Workflows, id: string): Promise<void> {
  await workflow
    .getHandle(id)
    .signal('stop')
    .catch((error: unknown) => {
      if (!(error instanceof WorkflowNotFoundError)) throw error
    })
}

type Wish = Pick<WantedWatch, 'principal' | 'repository'>

function demandAllowed({ principal, repository }: Wish): void {
  const verdict = authorize(principal, 'watch', repository)
  if (!verdict.allowed) throw new KilnError('forbidden', verdict.message, { place: verdict.rule })
}

function isAllowed({ principal, repository }: Wish): boolean {
  return authorize(principal, 'watch', repository).allowed
}

/** What is wanted, with what its workflow says of it. */
async function show(workflow: Workflows, watch: WantedWatch): Promise<Watch> {
  const { repository, branches, principal, since } = watch
  const id = watchIdOf(repository)
  const shown = { id, repository, branches: [...branches], requestedBy: principal.name, since }
  try {
    const { heads, lastError } = await workflow.getHandle(id).query<WatchState>('watch')
    return { ...shown, lastCommit: Object.values(heads).at(-1) ?? null, failure: lastError }
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error
    const failure = { code: 'not_running', message: 'Temporal lost it; it is started again' }
    return { ...shown, lastCommit: null, failure }
  }
}
