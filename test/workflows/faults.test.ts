import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { isOpen } from '../../src/domain/break-glass.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { hasEnded } from '../../src/domain/operation.ts'
import { failOnceAfterWork, twice } from '../helpers/activity-faults.ts'
import {
  kilnInMemory,
  person,
  promotion,
  testTemporal,
  until,
  type KilnInMemory,
  type TestTemporal,
} from './kiln-in-memory.ts'

let temporal: TestTemporal

beforeAll(async () => {
  temporal = await testTemporal()
})
afterAll(() => temporal.close())

/** Everything that Kiln does with one app: two deliveries, promotions, rollback, release, scale, break-glass, drift. */
async function wholeLoop(kiln: KilnInMemory): Promise<void> {
  const { prod } = kiln
  const first = await kiln.deliver('first')
  await kiln.done(kiln.test, promotion(first))
  await kiln.done(prod, promotion(first))
  const second = await kiln.deliver('second')
  await kiln.done(kiln.test, promotion(second))
  await kiln.done(prod, promotion(second))
  await rehearses(kiln, first)
  await kiln.done(prod, { kind: 'rollback', to: null })
  await kiln.done(prod, { kind: 'release' })
  await kiln.done(prod, { kind: 'scale', instances: 3 })
  await letIn(kiln)
  const [died] = kiln.host.running(prod)
  kiln.host.kill(died!.name)
  const expected = 'running'
  await kiln.engine.drift(prod, [
    { instance: died!.name, cause: 'stopped', found: 'exited', expected },
  ])
  await until('the replacement', async () =>
    (await kiln.state(prod)).closed?.body.changeKind === 'replacement' ? true : undefined,
  )
  expect(kiln.host.serving(prod).map((one) => one.digest)).toEqual([first, first, first])
  expect(kiln.host.running(prod)).toHaveLength(3)
  expect(kiln.host.gaps).toEqual([])
}

/** The way back of prod is tried aside, and nothing is on record of it; dev's, which has none, is not. */
async function rehearses({ engine, host, dev, prod, kinds }: KilnInMemory, target: Digest) {
  const before = await kinds()
  const asked = [
    { id: `rehearsal.${prod.replace('/', '-')}`, environment: prod },
    { id: `rehearsal.${dev.replace('/', '-')}-none`, environment: `${dev}-none` as const },
  ]
  const [done, none] = await Promise.all(
    asked.map(async (one) => {
      const requestedAt = new Date().toISOString()
      await engine.startRehearsal({ ...one, principal: person, requestedAt })
      return until(`${one.id} ends`, async () => {
        const operation = await engine.progress(one.id)
        return operation !== null && hasEnded(operation) ? operation : undefined
      })
    }),
  )
  expect(done).toMatchObject({ state: 'succeeded', result: { digest: target, readyMs: 2 } })
  expect(none).toMatchObject({
    state: 'refused',
    result: { rule: 'nothing-to-roll-back-to' },
  })
  expect(new Set(host.rehearsed)).toEqual(new Set([target]))
  expect(await kinds()).toEqual(before)
}

/** A person is let into an instance of prod, and out again. */
async function letIn(kiln: KilnInMemory): Promise<void> {
  const { prod: environment, engine, host } = kiln
  const { running, active } = await kiln.state(environment)
  const [instance] = running
  const id = `break-glass.${environment.replace('/', '-')}`
  const common = { environment, instance: instance!, reason: 'it hangs', principal: person }
  const request = { ...common, id, seconds: 900 }
  const { until: end } = await engine.breakGlass(request)
  // Asked again it is the same leave.
  expect(await engine.breakGlass(request)).toEqual({ until: end })
  expect(host.scans).toContain(environment)
  const [entered] = (await kiln.state(environment)).entered
  expect(entered).toMatchObject({ id: instance!.id, until: end, by: 'tester', reason: 'it hangs' })
  expect(isOpen(entered!, new Date())).toBe(true)
  const [fact] = kiln.ledger.facts().slice(-1)
  expect(fact).toMatchObject({ kind: 'break-glass', artifact: active?.body.digest })
  // Kiln lets nobody in by itself.
  const principal = { name: 'kiln', kind: 'kiln' } as const
  const own = engine.breakGlass({ ...request, id: `${id}-own`, principal })
  await expect(own).rejects.toMatchObject({ code: 'forbidden' })
  // A host that does not answer changes nothing: it finds it in the ledger.
  host.isBlind = true
  await engine.breakGlass({ ...request, id: `${id}-end`, seconds: 0 })
  host.isBlind = false
  const [ended] = (await kiln.state(environment)).entered
  expect(isOpen(ended!, new Date())).toBe(false)
}

const sealed = ['sbom', 'provenance', 'sealed']
const keyed = ['change', 'key', 'activation']
const plain = ['change', 'activation']
const delivered = [sealed, keyed, keyed, keyed]
const letInAndOut = ['break-glass', 'break-glass']
const onRecord = [
  delivered,
  delivered,
  [keyed, ['release'], plain, letInAndOut, ['drift'], plain],
].flat(2)

test('when every activity runs twice, and fails once after its work, each decision is on record once and nothing else differs', async () => {
  const kiln = await kilnInMemory(temporal, { wrap: (one) => failOnceAfterWork(twice(one)) })
  onTestFinished(() => kiln.close())
  await wholeLoop(kiln)
  expect(await kiln.kinds()).toEqual(onRecord)
  expect(kiln.ledger.ledger().void.size).toBe(0)
}, 180_000)
