import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import { kilnInMemory, promotion, testTemporal, type KilnInMemory } from './kiln-in-memory.ts'
import type { TestTemporal } from './kiln-in-memory.ts'

let temporal: TestTemporal
let kiln: KilnInMemory

beforeAll(async () => {
  temporal = await testTemporal({ continueAsNewAfter: 60 })
  kiln = await kilnInMemory(temporal)
})
afterAll(async () => {
  await kiln.close()
  await temporal.close()
})

const runId = async () =>
  (await kiln.client.workflow.getHandle(`environment:${kiln.dev}`).describe()).runId

test('an environment goes on as a new run with its queue, its drifts and what ended lately', async () => {
  const [a, b] = [await kiln.deliver('a'), await kiln.deliver('b')] as [Digest, Digest]
  const held = kiln.stage.hold('startInstances')
  const first = await kiln.ask(kiln.dev, promotion(a))
  await held.reached
  const before = await runId()
  const waiting = [
    await kiln.ask(kiln.dev, { kind: 'scale', instances: 2 }),
    await kiln.ask(kiln.dev, promotion(b)),
    await kiln.ask(kiln.dev, { kind: 'scale', instances: 3 }),
  ]
  await kiln.engine.drift(kiln.dev, [
    { instance: 'x', cause: 'foreign', found: 'a container', expected: 'none' },
  ])
  held.release()
  for (const id of waiting) {
    expect((await kiln.ended(kiln.dev, id)).state).toBe('succeeded')
  }
  expect(await runId()).not.toBe(before)
  // The run before the newest one ended it; it is known all the same.
  expect((await kiln.ended(kiln.dev, first)).state).toBe('succeeded')
  expect(kiln.host.serving(kiln.dev).map((one) => one.digest)).toEqual([b, b, b])
  await kiln.done(kiln.dev, promotion(a))
  expect((await kiln.kinds()).filter((kind) => kind === 'drift')).toHaveLength(1)
  expect((await kiln.state(kiln.dev)).epoch).toBe(8)
})
