import { Agent, createServer, request as send, type Server } from 'node:http'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Definition } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { showProcesses } from '../../src/edge/master.ts'
import { startLoad } from '../helpers/load-client.ts'
import { codeOf, defined, effectOf, environment, until } from '../runtime/host-at-hand.ts'
import { edgeAtHand, type EdgeAtHand } from './edge-at-hand.ts'

const definitions = new Map<Digest, Definition>()
let edge: EdgeAtHand
const services: Service[] = []

beforeEach(async () => {
  edge = await edgeAtHand(definitions)
})
afterEach(async () => {
  await edge.close()
  for (const { server } of services.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

type Service = {
  endpoint: Endpoint
  server: Server
  seen: string[]
  /** Those that carried a POST. */
  connections: Set<Socket>
  set: { ready: boolean }
}

/** A service in this process; readiness at `path`. */
async function service(name: string, path = '/ready'): Promise<Service> {
  const seen: string[] = []
  const connections = new Set<Socket>()
  const set = { ready: true }
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      response.statusCode = request.url === path && set.ready ? 200 : 503
      response.end()
      return
    }
    seen.push(request.method ?? '')
    connections.add(request.socket)
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { delayMs } = JSON.parse(Buffer.concat(chunks).toString()) as { delayMs: number }
      setTimeout(() => response.end(name), delayMs)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const made = {
    endpoint: { name, id: name, address: '127.0.0.1', port },
    server,
    seen,
    connections,
    set,
  }
  services.push(made)
  return made
}

function define(change: Partial<Definition> = {}): Digest {
  const { digest, body } = defined(change)
  definitions.set(digest, body)
  return digest
}

const of = (name: EnvironmentName) => ({ ...effectOf(1), environment: name })

async function opened(...instances: Service[]) {
  const wanted = { ...effectOf(1), definition: define() }
  const { address, port } = await edge.activities.ensureEnvironment(wanted)
  const endpoints = instances.map((one) => one.endpoint)
  await edge.activities.joinEdge({ ...wanted, instances: endpoints })
  return `${address}:${port}`
}

function post(address: string, delayMs = 0): Promise<Response> {
  return fetch(`http://${address}/`, { method: 'POST', body: JSON.stringify({ delayMs }) })
}

function postBy(agent: Agent, address: string): Promise<{ status: number; reused: boolean }> {
  return new Promise((resolve, reject) => {
    const sending = send(`http://${address}/`, { method: 'POST', agent }, (response) => {
      response.resume().once('end', () => {
        resolve({ status: response.statusCode ?? 0, reused: sending.reusedSocket })
      })
    })
    sending.once('error', reject)
    sending.end(JSON.stringify({ delayMs: 0 }))
  })
}

test('an environment has an address of its own; without instances it says so', async () => {
  const address = await opened()
  const response = await post(address)
  expect([response.status, await response.text()]).toEqual([503, 'nothing serves hello/prod now\n'])
  const other = await edge.activities.ensureEnvironment({
    ...of('hello/test'),
    definition: define(),
  })
  expect(`${other.address}:${other.port}`).not.toBe(address)
  expect(await edge.activities.ensureEnvironment({ ...effectOf(2), definition: define() })).toEqual(
    { address: '127.0.0.1', port: Number(address.split(':')[1]) },
  )
})

test('opening another environment by a reload loses no request', async () => {
  const a = await service('a')
  const address = await opened(a)
  const load = startLoad(address, { connections: 4 })
  await until(() => a.seen.length > 200)
  for (const name of ['hello/dev', 'hello/test', 'other/prod'] as const) {
    const before = a.seen.length
    await edge.activities.ensureEnvironment({ ...of(name), definition: define() })
    await until(() => a.seen.length > before + 50)
  }
  const report = await load.stop()
  expect(report.errors).toEqual([])
  expect(report.failed).toBe(0)
  expect(report.perInstance).toEqual({ a: report.ok })
})

test('a client that was idle during a reload is answered on the same connection', async () => {
  const address = await opened(await service('a'))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const first = await postBy(agent, address)
  await edge.activities.ensureEnvironment({ ...of('hello/test'), definition: define() })
  expect((await showProcesses(edge.paths)).old).toHaveLength(1)
  const second = await postBy(agent, address)
  agent.destroy()
  expect([first, second]).toEqual([
    { status: 200, reused: false },
    { status: 200, reused: true },
  ])
})

test("an instance's connection carries one request: its idle timeout can cut none", async () => {
  const a = await service('a')
  const address = await opened(a)
  // From now on the server is one of the file, whose connections HAProxy would keep.
  await edge.activities.ensureEnvironment({ ...of('hello/test'), definition: define() })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let count = 0; count < 5; count++) await postBy(agent, address)
  agent.destroy()
  expect(a.seen).toHaveLength(5)
  expect(a.connections.size).toBe(5)
})

test('an instance gets no request before its check has passed', async () => {
  const [a, b] = [await service('a'), await service('b')]
  const address = await opened(a)
  b.set.ready = false
  const definition = define({ start: { timeoutMs: 30_000 } })
  const joining = edge.activities.joinEdge({
    ...effectOf(2),
    definition,
    instances: [b.endpoint],
  })
  await until(async () => {
    const view = await edge.activities.edgeState({ environment })
    return view?.servers.some((one) => one.name === 'b' && one.status !== 'absent') ?? false
  })
  for (let count = 0; count < 20; count++) {
    expect(await (await post(address)).text()).toBe('a')
  }
  b.set.ready = true
  await joining
  const answers = new Set<string>()
  await until(async () => answers.add(await (await post(address)).text()).has('b'))
})

test('an instance that the edge cannot reach fails the change and gets nothing', async () => {
  const address = await opened(await service('a'))
  const b = await service('b')
  b.set.ready = false
  // The least time of the edge's own check is what ends this.
  const definition = define({ start: { timeoutMs: 1 } })
  const request = { ...effectOf(2), definition, instances: [b.endpoint] }
  expect(await codeOf(edge.activities.joinEdge(request))).toBe('change_failed')
  await edge.activities.leaveEdge({ ...effectOf(2), keep: ['a'] })
  expect(await (await post(address)).text()).toBe('a')
  expect(b.seen).toEqual([])
  const view = await edge.activities.edgeState({ environment })
  expect(view?.servers.map((one) => one.name)).toEqual(['a'])
})

test('instances of two definitions stand side by side, each checked by its own path', async () => {
  const [a, b] = [await service('a'), await service('b', '/health/v2?full=1')]
  const address = await opened(a)
  const definition = define({
    readiness: { path: '/health/v2?full=1', intervalMs: 100, timeoutMs: 1000 },
  })
  const worker = (await showProcesses(edge.paths)).worker
  await edge.activities.joinEdge({ ...effectOf(2), definition, instances: [b.endpoint] })
  const answers = new Set<string>()
  await until(async () => answers.add(await (await post(address)).text()).size === 2)
  expect((await showProcesses(edge.paths)).worker).toBe(worker)
})

test('who leaves finishes what it has, and gets nothing new', async () => {
  const [a, b] = [await service('a'), await service('b')]
  const address = await opened(a)
  const slow = post(address, 1000)
  await until(() => a.seen.length === 1)
  await edge.activities.joinEdge({
    ...effectOf(2),
    definition: define(),
    instances: [b.endpoint],
  })
  const order: string[] = []
  const leaving = edge.activities
    .leaveEdge({ ...effectOf(2), keep: ['b'] })
    .then(() => order.push('left'))
  const answered = slow.then(async (response) => order.push(await response.text()))
  await until(async () => {
    const view = await edge.activities.edgeState({ environment })
    return view?.servers.some((one) => one.status === 'DRAIN') ?? false
  })
  for (let count = 0; count < 10; count++) {
    expect(await (await post(address)).text()).toBe('b')
  }
  await Promise.all([leaving, answered])
  expect(order).toEqual(['a', 'left'])
})

test('what outlasts the drain time is cut, so that a change ends', async () => {
  const a = await service('a')
  const definition = define({ stop: { graceMs: 1000, drainMs: 300 } })
  const request = { ...effectOf(1), definition }
  const { address, port } = await edge.activities.ensureEnvironment(request)
  await edge.activities.joinEdge({ ...request, instances: [a.endpoint] })
  const endless = post(`${address}:${port}`, 600_000).then(
    (response) => response.status,
    () => 'cut',
  )
  await until(() => a.seen.length === 1)
  await edge.activities.leaveEdge({ ...effectOf(2), keep: [] })
  expect(await endless).not.toBe(200)
  expect((await edge.activities.edgeState({ environment }))?.servers).toEqual([])
})

test('a client of a worker that a reload replaced is not sent to an instance that left', async () => {
  const [a, b] = [await service('a'), await service('b')]
  const address = await opened(a)
  const slow = post(address, 1500)
  await until(() => a.seen.length === 1)
  // The reload leaves `slow` with the old worker, which alone knows of it.
  await edge.activities.ensureEnvironment({ ...of('hello/test'), definition: define() })
  await edge.activities.joinEdge({
    ...effectOf(2),
    definition: define(),
    instances: [b.endpoint],
  })
  await edge.activities.leaveEdge({ ...effectOf(2), keep: ['b'] })
  a.server.closeAllConnections()
  expect(await (await slow).text()).toBe('a')
})

test('each activity may be run twice', async () => {
  const [a, b] = [await service('a'), await service('b')]
  const request = { ...effectOf(1), definition: define() }
  const first = await edge.activities.ensureEnvironment(request)
  expect(await edge.activities.ensureEnvironment(request)).toEqual(first)
  const instances = [a.endpoint, b.endpoint]
  await edge.activities.joinEdge({ ...request, instances })
  await edge.activities.joinEdge({ ...request, instances })
  await edge.activities.leaveEdge({ ...effectOf(1), keep: ['b'] })
  await edge.activities.leaveEdge({ ...effectOf(1), keep: ['b'] })
  const view = await edge.activities.edgeState({ environment })
  expect(view?.servers.map((one) => [one.name, one.status])).toEqual([['b', 'UP']])
})

class Crash extends Error {}

test.each([
  ['edge.state', 'b'],
  ['edge.config', 'b'],
  ['edge.reloaded', 'b'],
  ['edge.added', 'b'],
  ['edge.open', 'b'],
  ['edge.drained', 'b'],
  ['edge.deleted', 'b'],
])('a host and an edge that die at %s go on to the same end', async (point) => {
  const [a, b] = [await service('a'), await service('b')]
  const definition = define()
  const activities = edge.activitiesWith({
    crashPoint: (name) => {
      if (name === point) throw new Crash(name)
    },
  })
  const steps = (one: typeof activities) => [
    () => one.ensureEnvironment({ ...effectOf(1), definition }),
    () => one.joinEdge({ ...effectOf(1), definition, instances: [a.endpoint] }),
    () => one.joinEdge({ ...effectOf(2), definition, instances: [b.endpoint] }),
    () => one.leaveEdge({ ...effectOf(2), keep: ['b'] }),
  ]
  const again = steps(edge.activitiesWith({}))
  let crashes = 0
  for (const [index, step] of steps(activities).entries()) {
    const crashed = await step().then(
      () => false,
      (error: unknown) => error instanceof Crash || Promise.reject(error),
    )
    if (!crashed) continue
    crashes++
    await edge.kill()
    await edge.restart()
    await again[index]?.()
  }
  expect(crashes).toBeGreaterThan(0)
  const view = await edge.activities.edgeState({ environment })
  expect(view?.servers.map((one) => one.name)).toEqual(['b'])
  const response = await post(`127.0.0.1:${view?.port}`)
  expect(await response.text()).toBe('b')
})

test('a killed HAProxy is an outage that is said, and comes back as it was', async () => {
  const [a, b] = [await service('a'), await service('b')]
  const address = await opened(a, b)
  await edge.activities.leaveEdge({ ...effectOf(2), keep: ['b'] })
  await edge.kill()
  const request = { ...effectOf(3), definition: define(), instances: [a.endpoint] }
  expect(await codeOf(edge.activities.joinEdge(request))).toBe('edge_unavailable')
  await edge.restart()
  // `a` is in the file, without traffic, until the repeated step has seen its check.
  expect(await (await post(address)).text()).toBe('b')
  expect(await (await post(address)).text()).toBe('b')
  await edge.activities.joinEdge(request)
  const answers = new Set<string>()
  await until(async () => answers.add(await (await post(address)).text()).size === 2)
})

test('a port that another program took is passed over, and given ones stay', async () => {
  const first = await edge.activities.ensureEnvironment({ ...effectOf(1), definition: define() })
  const squatter = createServer().listen(first.port + 1, '127.0.0.1')
  await once(squatter, 'listening')
  const other = await edge.activities.ensureEnvironment({
    ...of('hello/test'),
    definition: define(),
  })
  squatter.close()
  expect(other.port).toBeGreaterThan(first.port + 1)
  const state = JSON.parse(await readFile(edge.paths.state, 'utf8')) as {
    environments: { port: number }[]
  }
  expect(state.environments.map((one) => one.port)).toEqual([first.port, other.port])
})

test('what could speak to HAProxy through a definition or a name is refused', async () => {
  const a = await service('a')
  await opened()
  for (const path of ['/x;shutdown', '/a b', '/x\nfoo', '/"', 'ready', '/\\']) {
    const definition = define({ readiness: { path, intervalMs: 100, timeoutMs: 1000 } })
    const request = { ...effectOf(2), definition, instances: [a.endpoint] }
    expect([path, await codeOf(edge.activities.joinEdge(request))]).toEqual([path, 'invalid_input'])
  }
  const instances = [{ ...a.endpoint, name: 'a b' }]
  const request = { ...effectOf(2), definition: define(), instances }
  expect(await codeOf(edge.activities.joinEdge(request))).toBe('invalid_input')
})
