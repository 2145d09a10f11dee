import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import {
  codeOf,
  containersOf,
  docker,
  effectOf,
  environment,
  hostAtHand,
  inspect,
  startOf,
  type HostAtHand,
} from './host-at-hand.ts'

let host: HostAtHand
let epoch = 0

beforeAll(async () => {
  host = await hostAtHand()
}, 60_000)
afterEach(() => removeEnvironment(host.engine, environment))
afterAll(() => host.close())

async function startGood(change: Parameters<typeof startOf>[1] | object = {}) {
  const digest = await host.artifact({ VERSION: 'a' })
  const request = startOf(++epoch, { digest, definition: host.define(), ...change })
  return { request, ...(await host.activities.startInstances(request)) }
}

test('instances are started hardened, from the artifact, with labels that say why', async () => {
  const { request, instances } = await startGood()
  await host.activities.waitReady({ ...request, instances })
  expect(instances.map((one) => one.name)).toEqual([
    `${host.naming.prefix}.hello.prod.${request.epoch}.1`,
    `${host.naming.prefix}.hello.prod.${request.epoch}.2`,
  ])
  const found = await inspect(instances[0]?.id ?? '')
  expect(found.HostConfig).toMatchObject({
    ReadonlyRootfs: true,
    CapDrop: ['ALL'],
    SecurityOpt: ['no-new-privileges:true'],
    Memory: 128 * 1024 * 1024,
    MemorySwap: 128 * 1024 * 1024,
    NanoCpus: 1e9,
    PidsLimit: 64,
    RestartPolicy: { Name: 'no' },
    NetworkMode: `${host.naming.prefix}.hello.prod`,
    Tmpfs: { '/tmp': 'rw,nosuid,nodev,noexec,size=64m,mode=1777' },
    LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
  })
  expect(found.NetworkSettings.Ports).toEqual({})
  expect(found.Config.User).toBe('901:901')
  expect(found.Config.Env).toContain('PORT=8080')
  expect(found.Config.Labels).toMatchObject({
    'kiln.environment': environment,
    'kiln.epoch': String(request.epoch),
    'kiln.change': request.change,
    'kiln.digest': request.digest,
    'kiln.definition': request.definition,
    'kiln.key': request.key,
    'kiln.host': host.naming.host,
  })
  const { instances: seen } = await host.activities.observe({ environment })
  expect(seen).toHaveLength(2)
  expect(seen[0]).toMatchObject({
    ...instances[0],
    state: 'running',
    healthy: true,
    key: request.key,
  })
})

test('each activity may be run twice: nothing is made or ended twice', async () => {
  const { request, instances } = await startGood()
  expect(await host.activities.startInstances(request)).toEqual({ instances })
  await host.activities.waitReady({ ...request, instances })
  await host.activities.waitReady({ ...request, instances })
  const keep = instances.slice(0, 1).map((one) => one.name)
  await host.activities.stopInstances({ ...effectOf(epoch), keep })
  await host.activities.stopInstances({ ...effectOf(epoch), keep })
  expect(await containersOf(host)).toEqual(keep)
})

test('what admission refuses is not even pulled, and nothing is made', async () => {
  const digest = await host.artifact({ VERSION: 'refused' })
  host.admitted.delete(digest)
  const request = startOf(++epoch, { digest, definition: host.define() })
  expect(await codeOf(host.activities.startInstances(request))).toBe('refused')
  expect(await containersOf(host)).toEqual([])
  const reference = `${host.images.registry.address}/hello@${digest}`
  await expect(docker.getImage(reference).inspect()).rejects.toThrow('No such image')
})

test('what the registry does not serve to hosts is not started', async () => {
  const digest = await host.artifact({ VERSION: 'not served' })
  host.images.admissible.delete(digest)
  const request = startOf(++epoch, { digest, definition: host.define() })
  expect(await codeOf(host.activities.startInstances(request))).toBe('refused')
  expect(await containersOf(host)).toEqual([])
})

test('an image that runs as root, or as a name that may mean root, is refused', async () => {
  for (const user of ['', '0', '0:901', 'root', 'node']) {
    const digest = await host.artifact({ VERSION: `user ${user}` }, user)
    const request = startOf(++epoch, { digest, definition: host.define() })
    expect([user, await codeOf(host.activities.startInstances(request))]).toEqual([user, 'refused'])
  }
  expect(await containersOf(host)).toEqual([])
})

test('a digest that this host has seen denied is never started again', async () => {
  const digest = await host.artifact({ VERSION: 'denied' })
  await host.fence.deny([digest])
  const request = startOf(++epoch, { digest, definition: host.define() })
  expect(await codeOf(host.activities.startInstances(request))).toBe('refused')
  expect(await containersOf(host)).toEqual([])
})

test('an older epoch has no effect any more', async () => {
  const { request, instances } = await startGood()
  const old = effectOf(request.epoch - 1)
  const names = instances.map((one) => one.name)
  expect(await codeOf(host.activities.startInstances({ ...request, ...old }))).toBe('fenced')
  expect(await codeOf(host.activities.stopInstances({ ...old, keep: [] }))).toBe('fenced')
  expect(await codeOf(host.activities.waitReady({ ...request, ...old, instances }))).toBe('fenced')
  expect(await codeOf(host.activities.observe(old))).toBe('fenced')
  expect(await containersOf(host)).toEqual(names)
})

test('what a change has looked at is no longer ended by one before it', async () => {
  const { request, instances } = await startGood()
  const names = instances.map(({ name }) => name)
  const { instances: seen } = await host.activities.observe(effectOf(++epoch))
  expect(seen.map(({ name }) => name)).toEqual(names)
  const late = host.activities.stopInstances({ ...effectOf(request.epoch), keep: [] })
  expect(await codeOf(late)).toBe('fenced')
  expect(await containersOf(host)).toEqual(names)
})

test('one epoch has one key', async () => {
  const { request } = await startGood()
  const other = { ...request, key: 'c'.repeat(64) }
  expect(await codeOf(host.activities.startInstances(other))).toBe('fenced')
})

test('an instance that ends while it starts fails the change with its last lines', async () => {
  const digest = await host.artifact({ VERSION: 'ends', END_AT_ONCE: '1' })
  const request = startOf(++epoch, { digest, definition: host.define(), count: 1 })
  const { instances } = await host.activities.startInstances(request)
  const failure = await host.activities.waitReady({ ...request, instances }).catch((error) => error)
  expect(failure).toBeInstanceOf(KilnError)
  expect(failure).toMatchObject({ code: 'change_failed', lines: ['the database is not there'] })
  expect(failure.message).toContain('ended with code 7')
})

test('an instance that never becomes ready fails the change when its time is over', async () => {
  const digest = await host.artifact({ VERSION: 'never', NEVER_READY: '1' })
  const definition = host.define({ start: { timeoutMs: 700 } })
  const request = startOf(++epoch, { digest, definition, count: 1 })
  const { instances } = await host.activities.startInstances(request)
  const failure = await host.activities.waitReady({ ...request, instances }).catch((error) => error)
  expect(failure).toMatchObject({ code: 'change_failed', lines: ['version never listens'] })
  expect(failure.message).toContain('did not answer GET /ready within 0.7 s')
})

test('a dead instance of the same epoch is made anew; one that lives is left alone', async () => {
  const { request, instances } = await startGood()
  const [first, second] = instances
  await docker.getContainer(first?.id ?? '').kill()
  const again = await host.activities.startInstances(request)
  expect(again.instances[0]?.id).not.toBe(first?.id)
  expect(again.instances[1]).toEqual(second)
})

test('a container by hand under the name of an instance is replaced, not adopted', async () => {
  const { request, instances } = await startGood()
  const [first] = instances
  const { Image } = await inspect(first?.id ?? '')
  await docker.getContainer(first?.id ?? '').remove({ force: true })
  const forged = await docker.createContainer({ name: first?.name ?? '', Image })
  const again = await host.activities.startInstances(request)
  expect(again.instances[0]?.id).not.toBe(forged.id)
  expect((await inspect(first?.name ?? '')).Config.Labels['kiln.key']).toBe(request.key)
})

test('what Kiln did not make is ended even under a kept name', async () => {
  const { request, instances } = await startGood()
  const [first, second] = instances
  const { Image, Config } = await inspect(first?.id ?? '')
  await docker.getContainer(first?.id ?? '').remove({ force: true })
  await docker.createContainer({ name: first?.name ?? '', Image, Labels: Config.Labels })
  const { instances: seen } = await host.activities.observe({ environment })
  expect(seen.map((one) => [one.name, one.healthy])).toContainEqual([first?.name, false])
  const keep = instances.map((one) => one.name)
  await host.activities.stopInstances({ ...effectOf(request.epoch), keep })
  expect(await containersOf(host)).toEqual([second?.name])
})

test('an instance that was started again by hand is not healthy, however it answers', async () => {
  const { request, instances } = await startGood()
  await host.activities.waitReady({ ...request, instances })
  const [touched, other] = instances
  await docker.getContainer(touched?.id ?? '').restart({ t: 1 })
  await host.activities.waitReady({ ...request, instances })
  const { instances: seen } = await host.activities.observe({ environment })
  expect(seen.map(({ id, state, healthy }) => ({ id, state, healthy }))).toEqual([
    { id: touched?.id, state: 'running', healthy: false },
    { id: other?.id, state: 'running', healthy: true },
  ])
})

test('a paused instance is ended too', async () => {
  const { request, instances } = await startGood({ count: 1 })
  await docker.getContainer(instances[0]?.id ?? '').pause()
  await host.activities.stopInstances({ ...effectOf(request.epoch), keep: [] })
  expect(await containersOf(host)).toEqual([])
})
