import { ApplicationFailure, isCancellation } from '@temporalio/workflow'
import type { Failure, Operation } from '../src/domain/operation.ts'
import type { FoundApp, FoundApps } from '../src/source/read-source.ts'
import { waiting } from './activities.ts'
import type { DeliveryInput } from './delivery-input.ts'
import { ended, step, type Tracked } from './tracking.ts'

/** An app's delivery among the results of the whole, by the app's name. */
const resultKey = 'delivery of '

/**
 * Delivers every app of a commit, side by side, each as an operation of its own: one that fails is
 * reported at the end and stops no other. The whole is unchanged when each of them is.
 */
export async function deliverApps(
  operation: Tracked,
  input: DeliveryInput,
  found: FoundApps,
): Promise<void> {
  const apps = chosen(found.apps, input.app)
  const ids = apps.flatMap(({ app }) =>
    app === null ? [] : [[`${resultKey}${app}`, `${input.id}.${app}`] as const],
  )
  operation.result = { commit: found.commit, ...Object.fromEntries(ids) }
  const ends = await Promise.all(
    apps.map((app) =>
      deliverApp(operation, { input, commit: found.commit, app }).catch((error: unknown) => {
        if (isCancellation(error)) throw error
        return 'failed' as const
      }),
    ),
  )
  const failed = apps.filter((_app, at) => ends[at] === 'failed')
  if (failed.length > 0) throw someFailed(operation, { failed, of: apps.length })
  ended(operation, ends.every((state) => state === 'unchanged') ? 'unchanged' : 'succeeded')
}

function chosen(apps: readonly FoundApp[], wanted: string | undefined): readonly FoundApp[] {
  if (wanted === undefined) return apps
  const one = apps.filter(({ app }) => app === wanted)
  if (one.length > 0) return one
  const names = apps.map(({ app, path }) => app ?? path).join(', ')
  throw noSuchApp(wanted, `there are: ${names}`)
}

/** A request for an app that the commit does not hold. */
export function noSuchApp(wanted: string, fix: string): ApplicationFailure {
  return failureWith({
    code: 'not_found',
    message: `the commit has no app ${wanted}`,
    place: 'kiln.yaml',
    fix,
    lines: [],
  })
}

function failureWith(failure: Failure): ApplicationFailure {
  const { code, message } = failure
  return ApplicationFailure.create({ message, type: code, nonRetryable: true, details: [failure] })
}

type One = { input: DeliveryInput; commit: string; app: FoundApp }

function deliverApp(
  operation: Tracked,
  { input, commit, app: { app, fault, path } }: One,
): Promise<Operation['state']> {
  return step(operation, app ?? path, async (note) => {
    if (app === null) throw failureWith(fault)
    const { principal, repository, useCache } = input
    const id = `${input.id}.${app}`
    note(id)
    const part = { id, path, principal, useCache }
    const last = await waiting.runDelivery({ repository, commit, part })
    if (last?.state !== 'succeeded' && last?.state !== 'unchanged') {
      throw failureWith(last?.failure ?? plain(`${id} ended ${last?.state ?? 'unseen'}`))
    }
    note(`${last.state} ${id}`)
    return last.state
  })
}

function plain(message: string): Failure {
  return { code: 'change_failed', message, place: null, fix: null, lines: [] }
}

/** Says of each app that failed why, and how to look closer. */
function someFailed(
  { id, steps }: Tracked,
  { failed, of }: { failed: readonly FoundApp[]; of: number },
): ApplicationFailure {
  const names = failed.map(({ app, path }) => app ?? path)
  const lines = names.map((name) => {
    const detail = steps.find((one) => one.name === name)?.detail
    return `${name}: ${detail ?? 'failed'}`
  })
  const [first] = failed
  return failureWith({
    code: first?.app === null ? first.fault.code : 'build_failed',
    message: `${failed.length} of ${of} apps failed: ${names.join(', ')}`,
    place: first === undefined ? null : `${first.path}/kiln.yaml`,
    fix: typeof first?.app !== 'string' ? null : `kiln operations ${id}.${first.app}`,
    lines,
  })
}
