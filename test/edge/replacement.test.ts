import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import { startLoad } from '../helpers/load-client.ts'
import {
  containersOf,
  effectOf,
  environment,
  hostAtHand,
  inspect,
  startOf,
  until,
  type HostAtHand,
} from '../runtime/host-at-hand.ts'
import { edgeAtHand, type EdgeAtHand } from './edge-at-hand.ts'

let host: HostAtHand
let edge: EdgeAtHand
let epoch = 0
let address: string

beforeAll(async () => {
  host = await hostAtHand()
  edge = await edgeAtHand(host.definitions, { fence: host.fence })
  const opened = await edge.activities.ensureEnvironment({
    ...effectOf(++epoch),
    definition: host.define(),
  })
  address = `${opened.address}:${opened.port}`
}, 60_000)
afterAll(async () => {
  await edge.close()
  await host.close()
})

/** What the environment's workflow does with the host, in its order. */
async function replace(digest: Digest, definition: Digest): Promise<readonly Endpoint[]> {
  const effect = effectOf(++epoch)
  const { instances } = await host.activities.startInstances(startOf(epoch, { digest, definition }))
  await host.activities.waitReady({ ...effect, definition, instances })
  await edge.activities.joinEdge({ ...effect, definition, instances })
  const keep = instances.map((one) => one.name)
  await edge.activities.leaveEdge({ ...effect, keep })
  await host.activities.stopInstances({ ...effect, keep })
  return instances
}

const answered = async (instances: readonly Endpoint[]) => {
  const seen = new Set<string>()
  await until(async () => {
    const response = await fetch(`http://${address}/`, { method: 'POST', body: '{"id":"probe"}' })
    seen.add(response.headers.get('x-kiln-instance') ?? '')
    return instances.every((one) => seen.has(one.name))
  })
}

test('two instances are replaced three times under load, and no request is lost', async () => {
  const definition = host.define()
  const versions = [await host.artifact({ VERSION: 'a' }), await host.artifact({ VERSION: 'b' })]
  const first = await replace(versions[0] as Digest, definition)
  await answered(first)
  const load = startLoad(address, { connections: 4 })
  const served = [...first]
  for (const digest of [versions[1], versions[0], versions[1]]) {
    const instances = await replace(digest as Digest, definition)
    await answered(instances)
    served.push(...instances)
  }
  const report = await load.stop()
  expect(report.errors).toEqual([])
  expect(report.failed).toBe(0)
  expect(report.sent).toBe(report.ok)
  // Every instance had its share, so traffic did move each time.
  expect(Object.keys(report.perInstance).toSorted()).toEqual(
    served.map((one) => one.name).toSorted(),
  )
  expect(await containersOf(host)).toEqual(served.slice(-2).map((one) => one.name))
}, 120_000)

test('requests that take longer than the grace to stop are answered, since instances drain first', async () => {
  const definition = host.define({ stop: { graceMs: 500, drainMs: 20_000 } })
  await replace(await host.artifact({ VERSION: 'slow' }), definition)
  const load = startLoad(address, { connections: 4, maxRequests: 4, delayMs: 6000 })
  await until(async () => {
    const view = await edge.activities.edgeState({ environment })
    return view !== null && view.servers.every((one) => one.sessions > 0)
  })
  await replace(await host.artifact({ VERSION: 'next' }), definition)
  const report = await load.stop()
  expect(report.errors).toEqual([])
  expect(report.failed).toBe(0)
}, 120_000)

test('when the new never become ready, the old ones never stopped serving', async () => {
  const definition = host.define({ start: { timeoutMs: 500 } })
  const good = await replace(await host.artifact({ VERSION: 'good' }), host.define())
  const load = startLoad(address, { connections: 2 })
  const effect = effectOf(++epoch)
  const digest = await host.artifact({ VERSION: 'bad', NEVER_READY: '1' })
  const { instances } = await host.activities.startInstances(startOf(epoch, { digest, definition }))
  await expect(host.activities.waitReady({ ...effect, definition, instances })).rejects.toThrow(
    'did not answer GET /ready',
  )
  const keep = good.map((one) => one.name)
  await edge.activities.leaveEdge({ ...effect, keep })
  await host.activities.stopInstances({ ...effect, keep })
  await answered(good)
  const report = await load.stop()
  expect(report.failed).toBe(0)
  expect(Object.keys(report.perInstance).toSorted()).toEqual(keep.toSorted())
  expect(await containersOf(host)).toEqual(keep)
  for (const one of good) expect((await inspect(one.id)).State.Running).toBe(true)
}, 120_000)
