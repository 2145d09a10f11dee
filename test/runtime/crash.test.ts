import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { findDrift } from '../../src/runtime/drift.ts'
import { findContainers } from '../../src/runtime/engine.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import {
  containersOf,
  docker,
  effectOf,
  environment,
  hostAtHand,
  startOf,
  type HostAtHand,
} from './host-at-hand.ts'
import { killedAt } from './killed-at.ts'

let host: HostAtHand
let epoch = 0

beforeAll(async () => {
  host = await hostAtHand()
}, 60_000)
afterEach(() => removeEnvironment(host.engine, environment))
afterAll(() => host.close())

test.each([
  'runtime.keyed',
  'runtime.pulled',
  'runtime.network',
  'runtime.created',
  'runtime.noted',
  'runtime.started',
  'runtime.ending',
  'runtime.ended',
])(
  'a host killed at %s goes on to exactly what was asked, and leaves nothing else',
  async (point) => {
    const digest = await host.artifact({ VERSION: point })
    const request = startOf(++epoch, { digest, definition: host.define() })
    expect(await host.handedOver(() => killedAt(host, { point, request }))).toBe('SIGKILL')
    const left = await findContainers(host.engine, environment)
    const open = { instances: [], closed: null }
    expect(findDrift(open, left, host.fence.record(environment))).toEqual([])
    const { instances } = await host.activities.startInstances(request)
    await host.activities.waitReady({ ...request, instances })
    const names = instances.map((one) => one.name)
    expect(names).toHaveLength(2)
    expect(await containersOf(host)).toEqual(names)
    const { instances: seen } = await host.activities.observe({ environment })
    expect(seen.map((one) => one.healthy)).toEqual([true, true])
    await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
    expect(await containersOf(host)).toEqual([])
    const networks = await docker.listNetworks({
      filters: JSON.stringify({ label: [`kiln.host=${host.naming.host}`] }),
    })
    expect(networks).toHaveLength(1)
  },
)
