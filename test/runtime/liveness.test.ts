import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Probe } from '../../src/domain/definition.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import type { Drift } from '../../src/domain/request.ts'
import {
  beat,
  createLiveness,
  hasRecovered,
  isGivenUp,
  spend,
  type Budget,
  type Pulse,
} from '../../src/runtime/liveness.ts'
import { faultOf } from '../../src/runtime/probe.ts'
import {
  docker,
  effectOf,
  environment,
  hostAtHand,
  logger,
  startOf,
  until,
  type HostAtHand,
} from './host-at-hand.ts'

const liveness = createLiveness()
let host: HostAtHand
let epoch = 0

beforeAll(async () => {
  host = await hostAtHand({ isUnresponsive: liveness.isUnresponsive })
}, 60_000)
afterAll(() => host.close())

const often = { intervalMs: 100, timeoutMs: 500, threshold: 3 }

/** Two instances with this probe, as an activation adopts them. */
async function serving(probe: Probe): Promise<readonly Endpoint[]> {
  const definition = host.define({ liveness: probe, stop: { graceMs: 100, drainMs: 100 } })
  const digest = await host.artifact({ VERSION: `v${++epoch}` })
  const { instances } = await host.activities.startInstances(startOf(epoch, { digest, definition }))
  await host.activities.waitReady({ ...effectOf(epoch), definition, instances })
  return instances
}

/** Watches until `enough` says so; gives what was asked for, each replacement done as the workflow does it. */
async function watched(
  instances: readonly Endpoint[],
  work: (told: readonly Drift[], asked: { count: number }) => Promise<void>,
): Promise<readonly Drift[]> {
  const told: Drift[] = []
  /** How often an instance over its threshold asked whether it is one that should run. */
  const asked = { count: 0 }
  const stopping = new AbortController()
  const watching = liveness.watch(
    {
      ...host.engine,
      fence: host.fence,
      logger,
      now: () => new Date(),
      expected: async () => {
        asked.count++
        return { instances }
      },
      onDrift: async (_environment, drifts) => void told.push(...drifts),
    },
    stopping.signal,
  )
  await work(told, asked)
  stopping.abort()
  await watching
  return told
}

const healthy = async () => {
  const { instances } = await host.activities.observe({ environment })
  return instances.filter((one) => one.healthy).map((one) => one.name)
}

test('an instance that hangs is given up after its threshold; the other is left alone', async () => {
  const instances = await serving({ path: '/ready', ...often })
  const [hung, well] = instances
  const told = await watched(instances, async (list) => {
    await docker.getContainer(hung?.id ?? '').kill({ signal: 'SIGSTOP' })
    await until(() => list.length > 0)
  })
  expect(told).toEqual([
    {
      instance: hung?.name,
      cause: 'unresponsive',
      found: '3 answers missing in a row: GET /ready: no answer within 500 ms',
      expected: 'an answer in time',
    },
  ])
  // It would answer now, and is replaced all the same: who hung once is not trusted again so soon.
  await docker.getContainer(hung?.id ?? '').kill({ signal: 'SIGCONT' })
  expect(await healthy()).toEqual([well?.name])
  await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
}, 60_000)

test('all of them fail their probe, though they are ready: one is given up, the others wait', async () => {
  // The service has no such page: to its probe it is dead, to its readiness it is well.
  const instances = await serving({ path: '/live', ...often })
  expect(await healthy()).toHaveLength(2)
  const told = await watched(instances, async (list, asked) => {
    await until(() => list.length > 0)
    // Both are over their threshold, and each further probe asks again.
    const { count } = asked
    await until(() => asked.count > count + 5)
  })
  expect(told.map(({ cause }) => cause)).toEqual(['unresponsive'])
  expect(told[0]?.found).toContain('GET /live: status 503')
  const kept = instances.map(({ name }) => name).filter((name) => name !== told[0]?.instance)
  expect(await healthy()).toEqual(kept)
  await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
}, 60_000)

test('what a change is about to adopt or to end is its own', async () => {
  await serving({ path: '/live', ...often })
  const told = await watched([], (_list, asked) => until(() => asked.count > 4))
  expect(told).toEqual([])
  await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
}, 60_000)

test('by a TCP connection', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const asked = { address: '127.0.0.1', port }
  const probe = { tcp: true, ...often } as const
  expect(await faultOf(asked, probe)).toBeNull()
  server.close()
  await once(server, 'close')
  expect(await faultOf(asked, probe)).toMatch(/ECONNREFUSED/)
})

function after(...answers: (string | null)[]): Pulse {
  return answers.reduce<Pulse>(beat, { missed: 0, came: 0, fault: '' })
}

test('answers are counted in a row', () => {
  const probe: Probe = { path: '/', intervalMs: 1, timeoutMs: 1, threshold: 2 }
  expect(isGivenUp(after('x'), probe)).toBe(false)
  expect(isGivenUp(after('x', null, 'x'), probe)).toBe(false)
  expect(isGivenUp(after('x', null, 'x', 'y'), probe)).toBe(true)
  expect(hasRecovered(after('x', 'x', null), probe)).toBe(false)
  expect(hasRecovered(after('x', 'x', null, null), probe)).toBe(true)
  const { threshold: _given, ...standard } = probe
  expect([isGivenUp(after('x', 'x'), standard), isGivenUp(after('x', 'x', 'x'), standard)]).toEqual(
    [false, true],
  )
})

test('an environment that keeps failing is replaced more and more seldom, and at most every five minutes', () => {
  const asked: number[] = []
  let budget: Budget | undefined
  for (let second = 0; second < 3600; second++) {
    const left = spend(budget, second * 1000)
    if (left === null) continue
    asked.push(second)
    budget = left
  }
  expect(asked.slice(0, 7)).toEqual([0, 15, 45, 105, 225, 465, 765])
  expect(asked.length).toBeLessThan(18)
  // Calm for ten minutes: the next one is replaced at once.
  const calm = (asked.at(-1) ?? 0) * 1000 + 600_000
  expect(spend(budget, calm)).toEqual({ at: calm, pauseMs: 15_000 })
})
