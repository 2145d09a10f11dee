import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { failOnceAfterWork, twice } from '../helpers/activity-faults.ts'
import {
  kilnInMemory,
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

/** Everything that Kiln does with one app: two deliveries, promotions, rollback, release, scale, drift. */
async function wholeLoop(kiln: KilnInMemory): Promise<void> {
  const { prod } = kiln
  const first = await kiln.deliver('first')
  await kiln.done(kiln.test, promotion(first))
  await kiln.done(prod, promotion(first))
  const second = await kiln.deliver('second')
  await kiln.done(kiln.test, promotion(second))
  await kiln.done(prod, promotion(second))
  await kiln.done(prod, { kind: 'rollback', to: null })
  await kiln.done(prod, { kind: 'release' })
  await kiln.done(prod, { kind: 'scale', instances: 3 })
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

const sealed = ['sbom', 'provenance', 'sealed']
const keyed = ['change', 'key', 'activation']
const plain = ['change', 'activation']
const delivered = [sealed, keyed, keyed, keyed]
const onRecord = [delivered, delivered, [keyed, ['release'], plain, ['drift'], plain]].flat(2)

test.each([
  ['nothing fails', <A extends object>(activities: A): A => activities],
  ['every activity runs twice', twice],
  ['every activity fails once after its work', failOnceAfterWork],
])(
  'when %s, each decision is on record once and nothing else differs',
  async (_how, wrap) => {
    const kiln = await kilnInMemory(temporal, { wrap })
    onTestFinished(() => kiln.close())
    await wholeLoop(kiln)
    expect(await kiln.kinds()).toEqual(onRecord)
    expect(kiln.ledger.ledger().void.size).toBe(0)
  },
  180_000,
)
