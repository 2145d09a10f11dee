import { readdir } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import { findContainers } from '../../src/runtime/engine.ts'
import { environmentOfContainer } from '../../src/runtime/label.ts'
import type { RehearsalRequest } from '../../src/runtime/rehearsal.ts'
import {
  codeOf,
  docker,
  environment,
  hostAtHand,
  keyLeaf,
  startOf,
  until,
  type HostAtHand,
} from './host-at-hand.ts'
import { killedAt } from './killed-at.ts'

let host: HostAtHand
let count = 0

beforeAll(async () => {
  host = await hostAtHand()
}, 60_000)
afterEach(() => host.rehearsals.sweep())
afterAll(() => host.close())

/** A published artifact that is not admitted, and may be rehearsed. */
async function target(env: Record<string, string> = {}): Promise<Digest> {
  const digest = await host.artifact({ VERSION: `rehearsal ${++count}`, ...env })
  host.admitted.delete(digest)
  host.targets.add(digest)
  return digest
}

function requestOf(digest: Digest, definition: Digest): RehearsalRequest {
  const id = `rehearsal.${String(++count).padStart(16, '0')}`
  return { id, environment, key: keyLeaf(1), digest, definition, sequence: 1 }
}

const filters = () => JSON.stringify({ label: [`kiln.rehearsal=${host.naming.prefix}`] })

const started = async () => (await docker.listContainers({ filters: filters() }))[0]

async function left(): Promise<number> {
  const containers = await docker.listContainers({ all: true, filters: filters() })
  const networks = await docker.listNetworks({ filters: filters() })
  return containers.length + networks.length
}

test('the target is pulled, started aside until it answers, and ended', async () => {
  host.variables['KILN_SECRET_REHEARSED'] = 'the value'
  const definition = host.define({ secrets: { token: 'env:REHEARSED' } })
  const { activities } = host.rehearsals
  const took = await activities.rehearse(requestOf(await target(), definition))
  expect(took).toEqual({ pulledMs: expect.any(Number), readyMs: expect.any(Number) })
  expect(await left()).toBe(0)
  expect(await readdir(host.givenFolder)).toEqual([])
})

test('nothing takes it for an instance; one that does not answer says so, and leaves nothing', async () => {
  host.variables['KILN_SECRET_REHEARSED'] = 'the value'
  const definition = host.define({
    secrets: { token: 'env:REHEARSED' },
    start: { timeoutMs: 1500 },
  })
  const request = requestOf(await target({ NEVER_READY: '1' }), definition)
  const working = host.rehearsals.activities.rehearse(request)
  working.catch(() => undefined)
  await until(async () => (await started()) !== undefined)
  const one = await started()
  if (one === undefined) throw new Error('it ended already')
  const name = (one.Names[0] ?? '').slice(1)
  expect(Object.keys(one.Labels).filter((label) => label.startsWith('kiln.'))).toEqual([
    'kiln.rehearsal',
  ])
  expect(environmentOfContainer(host.naming, { name, labels: one.Labels })).toBeNull()
  expect(await findContainers(host.engine, environment)).toEqual([])
  const { HostConfig, NetworkSettings } = await docker.getContainer(one.Id).inspect()
  expect(HostConfig).toMatchObject({
    Memory: 128 * 1024 ** 2,
    PidsLimit: 64,
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
  })
  expect(Object.keys(NetworkSettings.Networks)).toEqual([name])
  expect(await readdir(host.givenFolder)).toEqual([name])
  await expect(working).rejects.toMatchObject({
    code: 'change_failed',
    message: expect.stringContaining('/ready'),
  })
  expect(await left()).toBe(0)
  expect(await readdir(host.givenFolder)).toEqual([])
})

test('what is not the target, or was seen denied, is not rehearsed; and what is, is not started', async () => {
  const digest = await target()
  const definition = host.define()
  const { activities } = host.rehearsals
  const other = await host.artifact({ VERSION: 'admitted, and no target' })
  expect(await codeOf(activities.rehearse(requestOf(other, definition)))).toBe('refused')
  const start = host.activities.startInstances(startOf(1, { digest, definition }))
  expect(await codeOf(start)).toBe('refused')
  await host.fence.deny([digest])
  expect(await codeOf(activities.rehearse(requestOf(digest, definition)))).toBe('refused')
  expect(await left()).toBe(0)
})

test('a target that is gone from the registry says so', async () => {
  const digest = await target()
  host.images.admissible.delete(digest)
  const work = host.rehearsals.activities.rehearse(requestOf(digest, host.define()))
  expect(await codeOf(work)).toBe('refused')
})

test.each(['pulled', 'network', 'created', 'started', 'ready', 'ended'])(
  'a host killed at rehearsal.%s: the next attempt ends well and leaves nothing',
  async (point) => {
    const digest = await target()
    const definition = host.define()
    const rehearsal = requestOf(digest, definition)
    const request = startOf(1, { digest, definition })
    const attempt = { point: `rehearsal.${point}`, request, rehearsal }
    expect(await host.handedOver(() => killedAt(host, attempt))).toBe('SIGKILL')
    expect(await host.rehearsals.activities.rehearse(rehearsal)).toMatchObject({
      readyMs: expect.any(Number),
    })
    expect(await left()).toBe(0)
  },
)

test('what a dead host left is swept by the next one, and what runs here is left alone', async () => {
  const digest = await target()
  const definition = host.define()
  const request = startOf(1, { digest, definition })
  const attempt = { point: 'rehearsal.started', request, rehearsal: requestOf(digest, definition) }
  await host.handedOver(() => killedAt(host, attempt))
  expect(await left()).toBe(2)
  await host.rehearsals.sweep()
  expect(await left()).toBe(0)
  const brief = host.define({ start: { timeoutMs: 1000 } })
  const mine = host.rehearsals
  const working = mine.activities.rehearse(requestOf(await target({ NEVER_READY: '1' }), brief))
  working.catch(() => undefined)
  await until(async () => (await left()) === 2)
  await mine.sweep()
  // Swept, it would be gone before its time was over.
  await expect(working).rejects.toMatchObject({ message: expect.stringContaining('within 1 s') })
})
