import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Endpoint } from '../../src/domain/effect.ts'
import type { Drift } from '../../src/domain/request.ts'
import type { ExpectedInstance } from '../../src/runtime/drift.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import { judgeOf, watched } from './watch-at-hand.ts'
import {
  docker,
  effectOf,
  environment,
  hostAtHand,
  inspect,
  startOf,
  until,
  type HostAtHand,
} from './host-at-hand.ts'

/** Below the half minute after which everything is compared anyhow: what is shown here is not that. */
const limit = { timeout: 25_000 }

let host: HostAtHand
let epoch = 0
let expected: ExpectedInstance[] = []
let drifts: Drift[] = []
let deaf = false
let unheard = 0
let stop: () => Promise<void>

beforeAll(async () => {
  host = await hostAtHand()
}, 60_000)
beforeEach(() => {
  stop = watch()
})
afterEach(async () => {
  await stop()
  await removeEnvironment(host.engine, environment)
  expected = []
  drifts = []
})
afterAll(() => host.close())

function watch() {
  const ending = new AbortController()
  const done = watched(
    host,
    {
      instances: () => expected,
      onDrift: async (found) => {
        if (deaf) {
          unheard++
          throw new Error('nobody listens')
        }
        drifts.push(...found)
      },
    },
    ending.signal,
  )
  return async () => {
    ending.abort()
    await done
  }
}

async function serving(count = 2): Promise<readonly [Endpoint, ...Endpoint[]]> {
  const digest = await host.artifact({ VERSION: 'watched' })
  const request = startOf(++epoch, { digest, definition: host.define(), count })
  const { instances } = await host.activities.startInstances(request)
  await host.activities.waitReady({ ...request, instances })
  expected = instances.map(({ name, id }) => ({ name, id, digest }))
  return instances as [Endpoint, ...Endpoint[]]
}

const causes = () => drifts.map((drift) => [drift.instance, drift.cause])

test.each([
  ['stopped', (id: string) => docker.getContainer(id).stop()],
  ['stopped', (id: string) => docker.getContainer(id).kill()],
  ['removed', (id: string) => docker.getContainer(id).remove({ force: true })],
  ['paused', (id: string) => docker.getContainer(id).pause()],
])('an instance that is %s by hand is noticed, once', limit, async (cause, act) => {
  const [first] = await serving()
  await act(first.id)
  await until(() => drifts.length > 0)
  expect(causes()).toEqual([[first.name, cause]])
  expect(drifts[0]?.expected).toBe(`running ${expected[0]?.digest}`)
})

test('an instance that is restarted by hand is noticed, once', limit, async () => {
  const [first] = await serving()
  await docker.getContainer(first.id).restart()
  await until(() => drifts.length > 0)
  expect(drifts).toHaveLength(1)
  // On a busy machine it may be seen while it is down.
  expect([first.name, ['restarted', 'stopped']]).toEqual([
    drifts[0]?.instance,
    expect.arrayContaining([drifts[0]?.cause]),
  ])
})

test(
  'a container by hand under an instance name is foreign, the instance removed',
  limit,
  async () => {
    const [first] = await serving(1)
    const { Image } = await inspect(first.id)
    await docker.getContainer(first.id).remove({ force: true })
    const forged = await docker.createContainer({
      name: first.name,
      Image,
      HostConfig: { NetworkMode: 'none' },
    })
    await forged.start()
    await until(() => drifts.length >= 2)
    expect(causes()).toEqual([
      [first.name, 'removed'],
      [first.name, 'foreign'],
    ])
  },
)

test.each([
  ['its name', (name: string) => ({ name: `${name}.extra` })],
  [
    'its labels',
    () => ({
      Labels: { 'kiln.environment': environment, 'kiln.host': host.naming.host },
    }),
  ],
  [
    'a copy of every label',
    (_name: string, labels: Record<string, string>) => ({ Labels: labels }),
  ],
])(
  'a container by hand that pretends by %s is foreign, and a change ends it',
  async (_what, by) => {
    const [first] = await serving(1)
    const { Image, Config } = await inspect(first.id)
    const forged = await docker.createContainer({ Image, ...by(first.name, Config.Labels) })
    await until(() => drifts.length > 0)
    expect(drifts.map((drift) => drift.cause)).toEqual(['foreign'])
    await host.activities.stopInstances({ ...effectOf(epoch), keep: [first.name] })
    await expect(forged.inspect()).rejects.toThrow('No such container')
    expect((await inspect(first.id)).State.Running).toBe(true)
  },
)

test("Kiln's own work is no drift", limit, async () => {
  const before = await serving()
  const after = await serving()
  const keep = after.map((one) => one.name)
  await host.activities.stopInstances({ ...effectOf(epoch), keep })
  // The old ones are still expected: the activation is not on record yet.
  expected = [...before, ...after].map(({ name, id }) => ({ name, id, digest: 'any' }))
  const [first] = after
  await docker.getContainer(first.id).kill()
  await until(() => drifts.length > 0)
  expect(causes()).toEqual([[first.name, 'stopped']])
})

test(
  'what a change left is told once it has failed, and until it is replaced nobody touches the edge',
  limit,
  async () => {
    const [old] = await serving(1)
    const adopted = expected
    const [left] = await serving(1)
    await host.activities.stopInstances({ ...effectOf(epoch), keep: [left.name] })
    const lookAt = async (closed: number | null) => {
      let asked = 0
      const judge = judgeOf(host, {
        instances: () => adopted,
        closed: () => closed,
        edge: async () => {
          asked += 1
          return []
        },
        onDrift: async () => undefined,
      })
      const seen = await judge(environment, 'content')
      return { told: seen.drifts.map((one) => [one.instance, one.cause]), asked }
    }
    expect(await lookAt(null)).toEqual({ told: [], asked: 0 })
    expect((await lookAt(epoch - 1)).told).toEqual([])
    const lost = [
      [old.name, 'unknown'],
      [left.name, 'unknown'],
    ]
    expect(await lookAt(epoch)).toEqual({ told: lost, asked: 0 })
  },
)

test('what was done while nobody watched is found at the start', limit, async () => {
  const [first, second] = await serving()
  await stop()
  await docker.getContainer(first.id).restart({ t: 0 })
  await docker.getContainer(second?.id ?? '').remove({ force: true })
  expect(drifts).toEqual([])
  stop = watch()
  await until(() => drifts.length >= 2)
  expect(causes()).toEqual([
    [first.name, 'restarted'],
    [second?.name, 'removed'],
  ])
})

test('a drift that nobody took is told again', limit, async () => {
  const [first] = await serving(1)
  deaf = true
  await docker.getContainer(first.id).kill()
  await until(() => unheard > 0)
  deaf = false
  await docker.getContainer(first.id).rename({ name: `${first.name}.renamed` })
  await until(() => drifts.length > 0)
  expect(causes()).toEqual([[first.name, 'stopped']])
})
