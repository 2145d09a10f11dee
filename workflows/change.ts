import { ApplicationFailure, patched } from '@temporalio/workflow'
import { issuesKey } from '../src/domain/ledger.ts'
import { servedBy } from '../src/domain/plan.ts'
import type { ChangeRequest, Drift } from '../src/domain/request.ts'
import type { ActivationBody, ChangeBody, FactOf } from '../src/domain/statement.ts'
import type { Decision } from '../src/promote/activities.ts'
import { control, hostActivities } from './activities.ts'
import { conclude } from './conclude.ts'
import { ended, failureOf, step, type Tracked } from './tracking.ts'

type Work = {
  request: ChangeRequest
  host: string
  operation: Tracked
  /** Whether a person asked to end it; heeded until traffic has moved. */
  cancelled: () => boolean
  /** Asks for a replacement after this work: what runs may differ from what is on record. */
  notice: (drift: Drift) => void
}

/** How often a change is planned anew when another writer took the epoch first. */
const attempts = 5

/** One request from its decision to its outcome. Whatever happens, an opened change gets an activation. */
export async function carryOut(work: Work): Promise<void> {
  const { operation, request } = work
  operation.state = 'running'
  if (request.wish.kind === 'replacement') {
    const { drifts } = request.wish
    await step(operation, 'record drift', () => control.recordDrifts({ request, drifts }))
  }
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const decision = await step(operation, 'plan', () => control.decideChange(request))
    if (decision.kind === 'open') {
      await step(operation, 'settle earlier change', () => settle(work, decision))
      continue
    }
    if (decision.kind === 'nothing-serves') {
      await takeBack(work, decision.change, null)
      return ended(operation, 'succeeded')
    }
    if (decision.kind !== 'change') return conclude(work, decision)
    const opened = await step(operation, 'take the epoch', () =>
      control.recordChange({ request, body: decision.body }),
    )
    if (opened.kind === 'lost') continue
    if ((await perform(work, decision, opened.body)) === 'done') return
  }
  throw ApplicationFailure.nonRetryable(
    'other changes of this environment kept coming first',
    'lost_race',
  )
}

/**
 * The effects of a change that the log holds. Until the new instances are confirmed in the edge every
 * failure returns to the old ones, which never stopped serving; after it the way is forward only.
 */
async function perform(
  work: Work,
  decision: Extract<Decision, { kind: 'change' }>,
  change: ChangeBody,
): Promise<'done' | 'plan again'> {
  const { operation } = work
  if (change.changeKind === 'stop') return stop(work, change)
  const before = decision.active
  if (change.changeKind === 'return') work.cancelled = () => false
  operation.result = { ...operation.result, epoch: change.epoch, digest: change.target.digest }
  let key: FactOf<'key'>
  let serving: readonly { name: string; id: string }[]
  try {
    key = await issueKey(work, change, before)
    serving = await bringUp(work, change, key)
  } catch (error) {
    const failure = failureOf(error)
    await takeBack(work, change, before)
    await recordOutcome(work, change, {
      outcome: 'failed',
      serving: servedBy(before),
      instances: [],
      failure: { code: failure.code, message: failure.message.slice(0, 500) },
    })
    // What was denied may not go on serving: the next plan stops it.
    if (change.changeKind === 'return') return 'plan again'
    ended(operation, work.cancelled() ? 'cancelled' : 'failed', { failure })
    return 'done'
  }
  await retire(work, change, serving)
  const recorded = await recordOutcome(work, change, {
    outcome: 'active',
    serving: servedBy(key),
    instances: serving,
    failure: null,
  })
  if (recorded.outcome === 'failed') {
    await reconcile(work, { change, before, outcome: 'failed' })
    throw ApplicationFailure.nonRetryable('somebody else ended it as failed', 'change_failed')
  }
  ended(operation, 'succeeded', {
    result: { sequence: key.body.sequence, instances: serving.length },
  })
  if (change.changeKind === 'promotion') await promoteOnwards(operation, change)
  return 'done'
}

/** What was denied ends without a successor; the edge answers 503 until something is promoted. */
async function stop(work: Work, change: ChangeBody): Promise<'done'> {
  await retire(work, change, [])
  await recordOutcome(work, change, {
    outcome: 'active',
    serving: null,
    instances: [],
    failure: null,
  })
  ended(work.operation, 'succeeded', {
    result: { epoch: change.epoch, digest: null, sequence: null, stopped: true },
  })
  return 'done'
}

/** What the next environment answers changes nothing here: this one is active, and that is on record. */
async function promoteOnwards(operation: Tracked, change: ChangeBody): Promise<void> {
  const { environment, target } = change
  try {
    await control.promoteOnwards({ environment, digest: target.digest, change: operation.id })
  } catch (error) {
    operation.result = { ...operation.result, onwards: failureOf(error).message }
  }
}

/** Other changes than those that issue the environment's next key go on under the active one. */
async function issueKey(
  { operation, request }: Work,
  change: ChangeBody,
  active: FactOf<'key'> | null,
): Promise<FactOf<'key'>> {
  if (!issuesKey(change.changeKind)) {
    if (active === null) throw ApplicationFailure.nonRetryable('no key is active here', 'refused')
    return active
  }
  const { key, bundle, repository } = await step(operation, 'issue key', async (note) => {
    const issued = await control.issueKey({ request, change })
    note(`sequence ${issued.key.body.sequence}, epoch ${change.epoch}`)
    return issued
  })
  await step(operation, 'publish key', () =>
    control.attachBundle({ repository, subject: change.target.digest, bundle }),
  )
  operation.result = { ...operation.result, sequence: key.body.sequence }
  return key
}

/** Starts what is missing of the target, and puts it into the edge beside what serves. */
async function bringUp(
  work: Work,
  change: ChangeBody,
  key: FactOf<'key'>,
): Promise<readonly { name: string; id: string }[]> {
  const { operation } = work
  const host = hostActivities(work.host)
  const effect = effectOf(change)
  const { definition, digest } = change.target
  const { instances: found } = await step(operation, 'observe', () => host.observe(effect))
  // Who was started before has the secrets of before.
  const kept = found
    .filter((one) => one.healthy && one.key === key.leaf && one.digest === digest)
    .filter(() => change.changeKind !== 'rotation')
    .toSorted((a, b) => a.epoch - b.epoch || (a.name < b.name ? -1 : 1))
    .slice(0, change.instances)
    .map(({ name, id, address, port }) => ({ name, id, address, port }))
  const keep = kept.map((one) => one.name)
  heed(work)
  const { instances: started } = await step(operation, 'start instances', (note) => {
    note(`${change.instances - kept.length} of ${digest.slice(7, 19)}`)
    return host.startInstances({
      ...effect,
      key: key.leaf,
      digest,
      definition,
      sequence: key.body.sequence,
      count: change.instances - kept.length,
      keep,
    })
  })
  heed(work)
  await step(operation, 'wait until ready', () =>
    host.waitReady({ ...effect, definition, instances: started }),
  )
  heed(work)
  await step(operation, 'join the edge', async (note) => {
    const { address, port } = await host.ensureEnvironment({ ...effect, definition })
    note(`${address}:${port}`)
    await host.joinEdge({ ...effect, definition, instances: [...kept, ...started] })
  })
  heed(work)
  return [...kept, ...started].map(({ name, id }) => ({ name, id }))
}

/** After the new ones serve: the old ones leave the edge, finish their requests, and end. */
async function retire(
  work: Work,
  change: ChangeBody,
  serving: readonly { name: string }[],
): Promise<void> {
  const host = hostActivities(work.host)
  const keep = serving.map((one) => one.name)
  const effect = effectOf(change)
  await step(work.operation, 'drain', () => host.leaveEdge({ ...effect, keep }))
  await step(work.operation, 'stop old instances', () => host.stopInstances({ ...effect, keep }))
}

/** A failed change leaves what served before; everything of its own is destroyed. */
async function takeBack(
  work: Work,
  change: ChangeBody,
  before: FactOf<'key'> | null,
): Promise<void> {
  const host = hostActivities(work.host)
  const effect = effectOf(change)
  await step(work.operation, 'take back', async () => {
    const { instances } = await host.observe(effect)
    const keep = instances
      .filter((one) => one.epoch < change.epoch && one.key === before?.leaf)
      .map((one) => one.name)
    await host.leaveEdge({ ...effect, keep })
    await host.stopInstances({ ...effect, keep })
  })
}

async function recordOutcome(
  { operation }: Work,
  change: ChangeBody,
  outcome: Pick<ActivationBody, 'outcome' | 'serving' | 'instances' | 'failure'>,
): Promise<ActivationBody> {
  return step(operation, 'record outcome', () =>
    control.recordActivation({
      artifact: change.target.digest,
      body: {
        environment: change.environment,
        epoch: change.epoch,
        change: change.change,
        ...outcome,
      },
    }),
  )
}

/**
 * A change that lost its workflow ends as failed, unless another outcome was stored before. Which of the two
 * stands before anything is ended: a change that went well must not lose its instances under its record.
 */
async function settle(work: Work, open: Extract<Decision, { kind: 'open' }>): Promise<void> {
  const { change, active } = open
  const outcomeFirst = patched('outcome-before-take-back')
  if (!outcomeFirst && active === null) await takeBack(work, change, active)
  const { outcome } = await recordOutcome(work, change, {
    outcome: 'failed',
    serving: servedBy(active),
    instances: [],
    failure: {
      // No fault of the artifact that a denial returns to: it is tried again.
      code: change.changeKind === 'return' ? 'internal' : 'change_failed',
      message: 'the work in flight was lost; ended as failed',
    },
  })
  if (outcomeFirst) await reconcile(work, { change, before: active, outcome })
  else if (active !== null) work.notice(lostWork(change.change))
}

/**
 * How far lost work had come is not known. The replacement that follows starts what is missing before it
 * ends what is too many; only where the log says that nothing serves is there nothing to lose.
 */
async function reconcile(
  work: Work,
  at: { change: ChangeBody; before: FactOf<'key'> | null; outcome: 'active' | 'failed' },
): Promise<void> {
  if (at.before === null && at.outcome === 'failed') await takeBack(work, at.change, null)
  else work.notice(lostWork(at.change.change))
}

export function lostWork(change: string): Drift {
  return {
    instance: change,
    cause: 'unknown',
    found: 'the work in flight was lost',
    expected: 'one outcome',
  }
}

function heed({ cancelled }: Work): void {
  if (cancelled()) throw ApplicationFailure.nonRetryable('cancelled by request', 'change_failed')
}

function effectOf(change: ChangeBody): Pick<ChangeBody, 'environment' | 'epoch' | 'change'> {
  return { environment: change.environment, epoch: change.epoch, change: change.change }
}
