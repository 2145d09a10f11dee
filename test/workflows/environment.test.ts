import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { hasEnded } from '../../src/domain/operation.ts'
import { changeId } from '../../src/domain/request.ts'
import {
  kilnInMemory,
  person,
  promotion,
  requestOf,
  testTemporal,
  until,
  type KilnInMemory,
  type TestTemporal,
} from './kiln-in-memory.ts'

let temporal: TestTemporal
let kiln: KilnInMemory
let a: Digest
let b: Digest
let c: Digest

beforeAll(async () => {
  temporal = await testTemporal()
  kiln = await kilnInMemory(temporal)
  ;[a, b, c] = [await kiln.deliver('a'), await kiln.deliver('b'), await kiln.deliver('c')]
})
afterAll(async () => {
  await kiln.close()
  await temporal.close()
})

/** Before each test `test` rests and runs one instance of `a`, whichever of the three that is by now; nothing is amiss. */
beforeEach(async () => {
  kiln.stage.clear()
  kiln.host.gaps.length = 0
  // The replacement that a test waited for may have another one behind it.
  const all = () => kiln.engine.environmentOperations(kiln.test)
  await until('it rests', async () => (await all()).every(hasEnded) || undefined)
  const { active, open, hold, alarm, replacements } = await kiln.state(kiln.test)
  const at = [a, b, c].findIndex((one) => one === active?.body.digest)
  const amiss = [open, hold, alarm].some((one) => one !== null) || replacements.length > 0
  if (at === -1 || amiss) await settled(await kiln.ask(kiln.test, promotion(a)))
  else [a, b, c] = [...[a, b, c].slice(at), ...[a, b, c].slice(0, at)] as [Digest, Digest, Digest]
  if (kiln.host.running(kiln.test).length !== 1) {
    await settled(await kiln.ask(kiln.test, { kind: 'scale', instances: 1 }))
  }
})

/** No change may leave an environment without an instance that serves. */
afterEach(() => {
  if (kiln.host.gaps.length > 0) throw new Error(`nothing served in ${kiln.host.gaps.join(', ')}`)
})

async function settled(id: string): Promise<void> {
  const { state } = await kiln.ended(kiln.test, id)
  if (state !== 'succeeded' && state !== 'unchanged') throw new Error(`${id} ${state}`)
}

function served(): string[] {
  return kiln.host.serving(kiln.test).map((one) => one.digest)
}

const cancel = (operation: string) =>
  kiln.engine.cancelChange(kiln.test, { operation, principal: person })

const change = ['change', 'key', 'activation']

test('the same request again is the same operation, and one change', async () => {
  const before = (await kiln.kinds()).length
  const request = requestOf(kiln.test, promotion(b), 'same')
  await Promise.all([kiln.engine.request(request), kiln.engine.request(request)])
  await kiln.ended(kiln.test, request.id)
  await kiln.engine.request(request)
  const operation = await kiln.ended(kiln.test, request.id)
  expect(operation.state).toBe('succeeded')
  expect((await kiln.kinds()).slice(before)).toEqual(change)
})

test('a rotation is a change of its own: under the same key, every instance anew before one ends', async () => {
  await kiln.done(kiln.test, { kind: 'scale', instances: 2 })
  const before = await kiln.state(kiln.test)
  const count = (await kiln.kinds()).length
  const operation = await kiln.done(kiln.test, { kind: 'rotation' })
  expect((await kiln.kinds()).slice(count)).toEqual(['change', 'activation'])
  const after = await kiln.state(kiln.test)
  expect(after.closed?.body).toMatchObject({ changeKind: 'rotation', epoch: before.epoch + 1 })
  expect(after.active?.leaf).toBe(before.active?.leaf)
  const names = before.running.map((one) => one.name)
  expect(after.running.filter((one) => names.includes(one.name))).toEqual([])
  expect(after.running).toHaveLength(2)
  expect(served()).toEqual([a, a])
  expect(operation.steps.map((step) => step.name)).not.toContain('issue key')
  // Where the definition names no secret there is nothing to rotate.
  const refused = await kiln.ask(kiln.dev, { kind: 'rotation' })
  expect(await kiln.ended(kiln.dev, refused)).toMatchObject({
    state: 'refused',
    failure: { place: 'no-secrets' },
  })
})

test('a newer promotion takes the place of one that waits; what runs goes on', async () => {
  const held = kiln.stage.hold('startInstances')
  const first = await kiln.ask(kiln.test, promotion(b))
  await held.reached
  const waiting = await kiln.ask(kiln.test, promotion(a))
  const scale = await kiln.ask(kiln.test, { kind: 'scale', instances: 2 })
  const newest = await kiln.ask(kiln.test, promotion(c))
  expect(await kiln.ended(kiln.test, waiting)).toMatchObject({
    state: 'superseded',
    result: { supersededBy: newest },
  })
  held.release()
  expect((await kiln.ended(kiln.test, first)).state).toBe('succeeded')
  expect((await kiln.ended(kiln.test, scale)).state).toBe('succeeded')
  expect((await kiln.ended(kiln.test, newest)).state).toBe('succeeded')
  expect(served()).toEqual([c, c])
})

test('requests beyond the limit are refused as overload, and nothing that waits is lost', async () => {
  const held = kiln.stage.hold('startInstances')
  const first = await kiln.ask(kiln.test, promotion(b))
  await held.reached
  const waiting: string[] = []
  for (let n = 0; n < 16; n++) waiting.push(await kiln.ask(kiln.test, { kind: 'release' }))
  await expect(kiln.ask(kiln.test, { kind: 'release' })).rejects.toMatchObject({
    code: 'overloaded',
  })
  held.release()
  await kiln.ended(kiln.test, first)
  for (const id of waiting) expect((await kiln.ended(kiln.test, id)).state).toBe('refused')
})

test('a request for another environment is refused before it is taken up', async () => {
  await expect(
    kiln.client.workflow
      .getHandle(`environment:${kiln.test}`)
      .executeUpdate('request', { args: [requestOf(kiln.prod, promotion(a), 'astray')] }),
  ).rejects.toMatchObject({ cause: { type: 'invalid_input' } })
  expect(await kiln.engine.environmentOperation(kiln.test, changeId(kiln.prod, 'astray'))).toBe(
    null,
  )
})

test('a change that waits is cancelled without a trace in the ledger', async () => {
  const held = kiln.stage.hold('decideChange')
  const first = await kiln.ask(kiln.test, { kind: 'release' })
  await held.reached
  const waiting = await kiln.ask(kiln.test, promotion(b))
  await cancel(waiting)
  expect((await kiln.ended(kiln.test, waiting)).state).toBe('cancelled')
  const before = (await kiln.kinds()).length
  held.release()
  await kiln.ended(kiln.test, first)
  expect((await kiln.kinds()).slice(before)).toEqual(['refusal'])
  expect(served()).toEqual([a])
})

test('a change that is cancelled before traffic moved is taken back and on record as failed', async () => {
  const held = kiln.stage.hold('waitReady')
  const id = await kiln.ask(kiln.test, promotion(b))
  await held.reached
  expect(kiln.host.running(kiln.test)).toHaveLength(2)
  await cancel(id)
  held.release()
  expect((await kiln.ended(kiln.test, id)).state).toBe('cancelled')
  expect(served()).toEqual([a])
  expect(kiln.host.running(kiln.test)).toHaveLength(1)
  expect((await kiln.state(kiln.test)).outcome?.body).toMatchObject({
    outcome: 'failed',
    serving: { digest: a },
    failure: { message: 'cancelled by request' },
  })
})

test('a change that is cancelled after traffic moved goes on to its end', async () => {
  const held = kiln.stage.hold('leaveEdge')
  const id = await kiln.ask(kiln.test, promotion(b))
  await held.reached
  await cancel(id)
  held.release()
  expect((await kiln.ended(kiln.test, id)).state).toBe('succeeded')
  expect(served()).toEqual([b])
})

test('a change whose epoch another writer took first is planned anew', async () => {
  const { epoch } = await kiln.state(kiln.test)
  let raced = false
  kiln.stage.before('recordChange', async ({ body }: { body: { epoch: number } }) => {
    if (raced) return
    raced = true
    // Another Kiln's workflow, after its Temporal was wiped: it takes the epoch and ends its change.
    const { target, from } = { target: { digest: b, definition: a }, from: null }
    await kiln.ledger.decide({
      id: 'other change',
      signable: {
        kind: 'change',
        time: new Date().toISOString(),
        body: {
          ...(body as never as object),
          target,
          from,
          change: changeId(kiln.test, 'other'),
          changeKind: 'scale',
          reason: 'other',
          requestedBy: 'other',
        } as never,
      },
    })
    await kiln.ledger.decide({
      id: 'other activation',
      signable: {
        kind: 'activation',
        time: new Date().toISOString(),
        artifact: b,
        body: {
          environment: kiln.test,
          epoch: body.epoch,
          change: changeId(kiln.test, 'other'),
          outcome: 'failed',
          key: null,
          serving: null,
          instances: [],
          failure: { code: 'change_failed', message: 'other' },
        },
      },
    })
  })
  const operation = await kiln.done(kiln.test, promotion(b))
  expect(operation.steps.map((one) => one.name).slice(0, 4)).toEqual([
    'plan',
    'take the epoch',
    'plan',
    'take the epoch',
  ])
  // The change that lost stays in the log, void for every reader.
  expect((await kiln.kinds()).slice(-6)).toEqual(['change', 'activation', 'change', ...change])
  expect((await kiln.state(kiln.test)).epoch).toBe(epoch + 2)
  expect(served()).toEqual([b])
})

const beforeTraffic = [
  'issueKey',
  'attachBundle',
  'observe',
  'startInstances',
  'waitReady',
  'ensureEnvironment',
  'joinEdge',
]

test.each(beforeTraffic)(
  'a failure of %s takes the change back: the old serves, the new is gone, failed is on record',
  async (activity) => {
    let failed = false
    kiln.stage.before(activity, () => {
      if (failed) return
      failed = true
      throw new KilnError('change_failed', 'it broke')
    })
    const id = await kiln.ask(kiln.test, promotion(b))
    const operation = await kiln.ended(kiln.test, id)
    expect(operation).toMatchObject({ state: 'failed', failure: { message: 'it broke' } })
    expect(served()).toEqual([a])
    expect(kiln.host.running(kiln.test)).toHaveLength(1)
    const state = await kiln.state(kiln.test)
    expect(state).toMatchObject({ open: null, pending: null, active: { body: { digest: a } } })
    expect(state.outcome?.body).toMatchObject({ outcome: 'failed', serving: { digest: a } })
    // What failed once may be wished again: the next one of these, in order, gets past where this one failed.
  },
)

test('what failed may be wished again; after traffic moved the way is forward only: each step is tried until it is done', async () => {
  const failures = { joinEdge: 0, leaveEdge: 0, stopInstances: 0, recordActivation: 0 }
  kiln.stage.before('joinEdge', () => {
    failures.joinEdge += 1
    if (failures.joinEdge === 1) throw new KilnError('change_failed', 'it broke')
  })
  expect((await kiln.ended(kiln.test, await kiln.ask(kiln.test, promotion(b)))).state).toBe(
    'failed',
  )
  for (const activity of ['leaveEdge', 'stopInstances', 'recordActivation'] as const) {
    kiln.stage.before(activity, () => {
      failures[activity] += 1
      if (failures[activity] <= 4) throw new KilnError('docker_unavailable', 'away')
    })
  }
  await kiln.done(kiln.test, promotion(b))
  expect(failures).toEqual({ joinEdge: 2, leaveEdge: 5, stopInstances: 5, recordActivation: 5 })
  expect(served()).toEqual([b])
  expect(kiln.host.running(kiln.test)).toHaveLength(1)
  expect((await kiln.state(kiln.test)).outcome?.body.outcome).toBe('active')
})

/** Temporal forgets an environment while it is in an activity, as when its file is wiped. */
async function forgetIn(
  activity: string,
  ask: () => Promise<unknown>,
  environment: EnvironmentName = kiln.test,
): Promise<void> {
  const held = kiln.stage.hold(activity)
  await ask()
  await held.reached
  await kiln.client.workflow.getHandle(`environment:${environment}`).terminate('wiped')
  held.kill()
}

test.each(['issueKey', 'waitReady', 'leaveEdge', 'stopInstances', 'recordActivation'])(
  'a change whose workflow was lost in %s is ended as failed before the next one begins',
  async (activity) => {
    await forgetIn(activity, () => kiln.ask(kiln.test, promotion(b)))
    const held = kiln.stage.hold('recordChange')
    const next = await kiln.ask(kiln.test, promotion(c))
    await held.reached
    expect((await kiln.state(kiln.test)).outcome?.body).toMatchObject({
      outcome: 'failed',
      serving: { digest: a },
      failure: { message: 'the work in flight was lost; ended as failed' },
    })
    held.release()
    expect((await kiln.ended(kiln.test, next)).state).toBe('succeeded')
    expect(kiln.host.running(kiln.test).map((one) => one.digest)).toEqual([c])
  },
)

test.each(['issueKey', 'waitReady', 'leaveEdge', 'stopInstances', 'recordActivation'])(
  'a change whose workflow was lost in %s comes back to the old without a gap',
  async (activity) => {
    await forgetIn(activity, () => kiln.ask(kiln.test, promotion(b)))
    const { epoch } = await kiln.state(kiln.test)
    await kiln.engine.wake(kiln.test, 'lost')
    await until('a replacement restores what is on record', async () => {
      const { closed } = await kiln.state(kiln.test)
      return closed?.body.changeKind === 'replacement' && closed.body.epoch > epoch
        ? true
        : undefined
    })
    expect(kiln.host.running(kiln.test).map((one) => one.digest)).toEqual([a])
    expect((await kiln.state(kiln.test)).open).toBe(null)
  },
)

test.each(['waitReady', 'leaveEdge', 'stopInstances', 'recordActivation'])(
  'work that is lost in %s, and again before it was made good, is what the host tells of, and comes back without a gap',
  async (activity) => {
    await forgetIn(activity, () => kiln.ask(kiln.test, promotion(b)))
    await forgetIn('recordChange', () => kiln.engine.wake(kiln.test, 'lost'))
    const { open, outcome, epoch } = await kiln.state(kiln.test)
    expect([open, outcome?.body.outcome]).toEqual([null, 'failed'])
    expect(kiln.host.running(kiln.test).map((one) => one.digest)).toContain(b)
    const told = await kiln.host.look(kiln.test)
    expect(told.map(({ cause }) => cause)).toContain('unknown')
    await kiln.engine.drift(kiln.test, told)
    await until('what is on record runs', async () => {
      const state = await kiln.state(kiln.test)
      return state.epoch === epoch + 1 && state.open === null ? true : undefined
    })
    expect(kiln.host.running(kiln.test).map((one) => one.digest)).toEqual([a])
    expect(served()).toEqual([a])
    expect(await kiln.host.look(kiln.test)).toEqual([])
  },
)

test('what a change found and keeps is not ended by the late attempt of one before it', async () => {
  await kiln.done(kiln.test, { kind: 'scale', instances: 2 })
  const { epoch } = await kiln.state(kiln.test)
  const { stopInstances } = kiln.host.activities()
  const late = { environment: kiln.test, epoch, change: 'late', keep: [] }
  const ended: unknown[] = []
  kiln.stage.before('startInstances', async () => {
    await stopInstances(late).catch((error: unknown) => ended.push(error))
  })
  await kiln.done(kiln.test, { kind: 'scale', instances: 3 })
  expect(ended).toMatchObject([{ code: 'fenced' }])
  expect(served()).toEqual([a, a, a])
})

test('what work that was lost twice left where nothing is active is what the host tells of, and ends', async () => {
  const { prod } = kiln
  await forgetIn('waitReady', () => kiln.ask(prod, promotion(a)), prod)
  await forgetIn('observe', () => kiln.engine.wake(prod, 'lost'), prod)
  const { open, active, epoch } = await kiln.state(prod)
  expect([open, active]).toEqual([null, null])
  expect(kiln.host.running(prod).map((one) => one.digest)).toEqual([a, a])
  const told = await kiln.host.look(prod)
  expect(told.map(({ cause }) => cause)).toEqual(['unknown', 'unknown'])
  await kiln.engine.drift(prod, told)
  await until('it ended', async () => kiln.host.running(prod).length === 0 || undefined)
  const replaced = async () => (await kiln.engine.environmentOperations(prod)).at(-1)?.state
  await until('the work ended', async () => (await replaced()) === 'succeeded' || undefined)
  expect(await kiln.host.look(prod)).toEqual([])
  expect((await kiln.state(prod)).epoch).toBe(epoch)
})

test('drift that a host tells of, and tells again unheard, is on record once, and what died is replaced under the same key', async () => {
  await kiln.done(kiln.test, { kind: 'scale', instances: 2 })
  const [died, lives] = kiln.host.running(kiln.test)
  kiln.host.kill(died!.name)
  const before = await kiln.kinds()
  const what = { cause: 'stopped', found: 'exited', expected: 'running' } as const
  const drift = { instance: died!.name, ...what }
  await kiln.engine.drift(kiln.test, [drift, drift])
  await until('the replacement is on record', async () =>
    (await kiln.state(kiln.test)).closed?.body.changeKind === 'replacement' ? true : undefined,
  )
  expect((await kiln.kinds()).slice(before.length)).toEqual(['drift', 'change', 'activation'])
  const now = kiln.host.serving(kiln.test)
  expect(now.map((one) => one.digest)).toEqual([a, a])
  expect(now.map((one) => one.id)).toContain(lives!.id)
  expect(now.map((one) => one.id)).not.toContain(died!.id)
})

test('kinds of change go through the same steps: rollback holds, release lifts, scale needs no key', async () => {
  await kiln.done(kiln.test, promotion(b))
  await kiln.done(kiln.test, { kind: 'rollback', to: null })
  expect(served()).toEqual([a])
  expect((await kiln.state(kiln.test)).hold).not.toBe(null)
  await kiln.done(kiln.test, { kind: 'scale', instances: 3 })
  expect(served()).toEqual([a, a, a])
  await kiln.done(kiln.test, { kind: 'release' })
  expect((await kiln.state(kiln.test)).hold).toBe(null)
  expect((await kiln.kinds()).slice(-9)).toEqual([
    ...change,
    ...change,
    'change',
    'activation',
    'release',
  ])
})

test('an app that keeps stopping is replaced three times, then alarms once, and a person lifts it', async () => {
  const told = async () => {
    const [one] = (await kiln.state(kiln.test)).running
    if (one === undefined) throw new Error('nothing runs')
    kiln.host.kill(one.name)
    await kiln.engine.drift(kiln.test, [
      { instance: one.name, cause: 'stopped', found: 'exited, exit code 1', expected: 'running' },
    ])
    return one.name
  }
  const epoch = async () => (await kiln.state(kiln.test)).epoch
  const begun = await epoch()
  for (let count = 1; count <= 3; count++) {
    const gone = await told()
    await until(`replacement ${count}`, async () => {
      const { open, running } = await kiln.state(kiln.test)
      return open === null && running[0]?.name !== gone ? true : undefined
    })
  }
  expect(await epoch()).toBe(begun + 3)
  await told()
  const alarm = await until(
    'the alarm',
    async () => (await kiln.state(kiln.test)).alarm ?? undefined,
  )
  expect(alarm).toMatchObject({ cause: 'stopped' })
  const refusals = async () => (await kiln.kinds()).filter((kind) => kind === 'refusal').length
  const drifts = async () => (await kiln.kinds()).filter((kind) => kind === 'drift').length
  const [known, seen] = [await refusals(), await drifts()]

  // Told again, it is neither recorded nor replaced again.
  await told()
  const again = await until('the second telling is answered', async () => {
    const all = await kiln.engine.environmentOperations(kiln.test)
    const last = all.findLast(({ kind }) => kind === 'replacement')
    return last?.state === 'unchanged' ? last : undefined
  })
  expect(again.state).toBe('unchanged')
  expect([await refusals(), await drifts(), await epoch()]).toEqual([known, seen, begun + 3])

  const lifted = await kiln.ended(
    kiln.test,
    await kiln.ask(kiln.test, { kind: 'release', alarm: true }),
  )
  expect(lifted.state).toBe('succeeded')
  expect(await kiln.state(kiln.test)).toMatchObject({ alarm: null, replacements: [] })
  await told()
  await until('it is replaced again', async () => ((await epoch()) > begun + 3 ? true : undefined))
  await until('and ends', async () => (await kiln.state(kiln.test)).open === null || undefined)
})

test('another artifact lifts the alarm; what drifts at the edge replaces nothing', async () => {
  const epoch = async () => (await kiln.state(kiln.test)).epoch
  const before = await epoch()
  const [one] = (await kiln.state(kiln.test)).running
  await kiln.engine.drift(kiln.test, [
    { instance: one?.name ?? '', cause: 'edge', found: 'a server elsewhere', expected: 'nothing' },
  ])
  await until('it is on record', async () => {
    const all = await kiln.engine.environmentOperations(kiln.test)
    return all.findLast(({ kind }) => kind === 'replacement')?.state === 'unchanged' || undefined
  })
  expect((await kiln.kinds()).at(-1)).toBe('drift')
  expect(await epoch()).toBe(before)
  await kiln.done(kiln.test, promotion(b))
  expect(await kiln.state(kiln.test)).toMatchObject({ alarm: null, replacements: [] })
})
