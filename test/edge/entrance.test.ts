import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Definition } from '../../src/domain/definition.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Route } from '../../src/domain/definition.ts'
import { renderConfig } from '../../src/edge/config.ts'
import { routesOf } from '../../src/edge/entrance.ts'
import { showProcesses } from '../../src/edge/master.ts'
import { changesOf } from '../../src/edge/routes.ts'
import { emptyState, joining, withPort } from '../../src/edge/state.ts'
import { freePort } from '../helpers/free-port.ts'
import { startLoad } from '../helpers/load-client.ts'
import { codeOf, defined, effectOf, until } from '../runtime/host-at-hand.ts'
import { edgeAtHand, type EdgeAtHand } from './edge-at-hand.ts'
import { namedService, sendRaw, type NamedService } from './service-at-hand.ts'

const definitions = new Map<Digest, Definition>()
let edge: EdgeAtHand
let port: number
const services: NamedService[] = []

beforeEach(async () => {
  port = await freePort()
  edge = await edgeAtHand(definitions, {
    entrance: { address: '127.0.0.1', port, tls: null },
  })
})
afterEach(async () => {
  await edge.close()
  for (const one of services.splice(0)) one.close()
})

function define(change: Partial<Definition> = {}): Digest {
  const { digest, body } = defined(change)
  definitions.set(digest, body)
  return digest
}

const effect = (environment: EnvironmentName, epoch = 1) => ({
  ...effectOf(epoch),
  environment,
  change: `change.${epoch}`,
})

/** Brings one instance of the environment into the edge, beside what it has. */
async function serve(
  environment: EnvironmentName,
  route: Route | undefined,
  part: { epoch?: number; change?: Partial<Definition> } = {},
): Promise<NamedService> {
  const { epoch = 1, change = {} } = part
  const one = await namedService(`${environment.replace('/', '.')}.${epoch}`)
  services.push(one)
  const definition = define({ ...change, ...(route === undefined ? {} : { route }) })
  const request = { ...effect(environment, epoch), definition }
  await edge.activities.ensureEnvironment(request)
  await edge.activities.joinEdge({ ...request, instances: [one.endpoint] })
  return one
}

const get = (name: string, page: string) => sendRaw(port, `GET ${page} HTTP/1.1\r\nHost: ${name}`)
const answer = async (name: string, page: string) => {
  const { status, body } = await get(name, page)
  return status === 200 ? body : status
}

const shop = 'shop.example.test'
const host = (name: string) => `GET /x HTTP/1.1\r\nHost: ${name}`
const path = (text: string) => `GET ${text} HTTP/1.1\r\nHost: ${shop}`
const shapeOf = (text: string) => /KILN_SHAPE (\w+)/.exec(text)?.[1]

test('by host and path: the host that is named first, then the longest path, by whole segments', async () => {
  await serve('shop/prod', { host: shop })
  await serve('api/prod', { host: shop, path: '/api' })
  await serve('next/prod', { host: shop, path: '/api/v2' })
  await serve('only/prod', { host: 'only.example.test', path: '/in' })
  await serve('any/prod', { path: '/' })
  const table: [string, string, string | number][] = [
    [shop, '/', 'shop.prod.1'],
    [shop, '/apis', 'shop.prod.1'],
    [shop, '/x/api', 'shop.prod.1'],
    [shop, '/api', 'api.prod.1'],
    [shop, '/api/', 'api.prod.1'],
    [shop, '/api?x=/api/v2', 'api.prod.1'],
    [shop, '/api/v', 'api.prod.1'],
    [shop, '/api/v2', 'next.prod.1'],
    [shop, '/api/v2/x', 'next.prod.1'],
    ['only.example.test', '/in/x', 'only.prod.1'],
    // Its host has routes of its own: what they do not take goes to nobody, and to no other app.
    ['only.example.test', '/out', 404],
    ['other.example.test', '/api/v2', 'any.prod.1'],
  ]
  const answers = await Promise.all(table.map(([name, page]) => answer(name, page)))
  expect(answers).toEqual(table.map(([, , wanted]) => wanted))
})

test('an unknown host or path gets a page of Kiln; a route whose instances are gone says so', async () => {
  expect(await get('nobody.test', '/')).toMatchObject({
    status: 404,
    body: 'no route of this Kiln leads here\n',
  })
  const one = await serve('shop/prod', { host: shop })
  expect(await answer(shop, '/')).toBe('shop.prod.1')
  one.close()
  await until(async () => (await get(shop, '/')).status === 503)
  expect((await get(shop, '/')).body).toBe('nothing serves shop/prod now\n')
  expect((await get('nobody.test', '/')).status).toBe(404)
})

test('no spelling of a host or a path reaches another app, or a page outside of a route', async () => {
  const front = await serve('shop/prod', { host: shop })
  const api = await serve('api/prod', { host: shop, path: '/api' })
  const any = await serve('any/prod', { path: '/' })
  const table: [string, string | number][] = [
    // One host has many spellings.
    [host('SHOP.Example.Test:8080'), 'shop.prod.1'],
    [host('shop.example.test.'), 'shop.prod.1'],
    [host('shop.example.test.:80'), 'shop.prod.1'],
    [host('xshop.example.test'), 'any.prod.1'],
    [host('[::1]:80'), 'any.prod.1'],
    ['GET /x HTTP/1.0', 'any.prod.1'],
    // A host that would speak to the table of routes, or be two.
    [host(`${shop}/api`), 400],
    [host('*'), 400],
    [host(`${shop},other.test`), 400],
    [host(`user@${shop}`), 400],
    [host(`${shop} other.test`), 400],
    [`GET /x HTTP/1.1\r\nHost: ${shop}\r\nHost: other.test`, 400],
    [`GET http://other.test/x HTTP/1.1\r\nHost: ${shop}`, 400],
    [`GET http://${shop}/api/x HTTP/1.1\r\nHost: ${shop}`, 'api.prod.1'],
    [`CONNECT ${shop}:80 HTTP/1.1\r\nHost: ${shop}:80`, 405],
    // One path has many spellings.
    [path('/%61pi/x'), 'api.prod.1'],
    [path('/api%2Fx'), 'api.prod.1'],
    [path('/x//api'), 'shop.prod.1'],
    [path('/API/x'), 'shop.prod.1'],
    [path('/%2561pi/x'), 'shop.prod.1'],
    [path('/.well-known/x'), 'shop.prod.1'],
    [path('/api/...'), 'api.prod.1'],
    // What a service behind /api could read as a page outside of it.
    [path('/api/../x'), 400],
    [path('/api/%2e%2E/x'), 400],
    [path('/api/..%2fx'), 400],
    [path('/api%2f..%2fx'), 400],
    [path('/api/..;v=1/x'), 400],
    [path('/api/.'), 400],
    [path('/api/..\\x'), 400],
    [path('/api/%5c..%5cx'), 400],
    [path('//api/x'), 400],
    [path('/api%00'), 400],
    [path('/api/%0d%0ax'), 400],
    [path('/api/%zz'), 400],
    [path('/api/%2'), 400],
  ]
  const answers = await Promise.all(
    table.map(async ([head]) => {
      const { status, body } = await sendRaw(port, head)
      return [head, status === 200 ? body : status]
    }),
  )
  expect(answers).toEqual(table)
  // A service gets the path as it came: nothing is taken from it, nothing is rewritten.
  expect(api.seen).toContain('/%61pi/x')
  expect(front.seen).toContain('/x//api')
  expect(any.seen).not.toContain('/api')
})

test('a route that another environment has is refused at the edge too, and nothing changes', async () => {
  await serve('shop/prod', { host: shop, path: '/api' })
  const other = await namedService('other.prod.1')
  services.push(other)
  const definition = define({ route: { host: shop, path: '/api' } })
  const request = { ...effect('other/prod'), definition }
  const { port: own } = await edge.activities.ensureEnvironment(request)
  const joined = edge.activities.joinEdge({ ...request, instances: [other.endpoint] })
  expect(await codeOf(joined)).toBe('refused')
  await edge.activities.leaveEdge({ ...effect('other/prod'), keep: [] })
  expect(await answer(shop, '/api')).toBe('shop.prod.1')
  expect(other.seen).toEqual([])
  expect((await sendRaw(own, `GET / HTTP/1.1\r\nHost: ${shop}`)).status).toBe(503)
})

test('a route changes with the instances that have it, without a reload; taken back with them', async () => {
  const before = await serve('shop/prod', { host: shop, path: '/old' })
  const { worker } = await showProcesses(edge.paths)
  const after = await serve('shop/prod', { host: shop, path: '/new' }, { epoch: 2 })
  await until(async () => (await answer(shop, '/new')) === 'shop.prod.2')
  expect(await answer(shop, '/old')).toMatch(/^shop\.prod\.[12]$/)
  // The change fails: what it brought leaves.
  await edge.activities.leaveEdge({
    ...effect('shop/prod', 2),
    keep: [before.endpoint.name],
  })
  expect(await answer(shop, '/new')).toBe(404)
  expect(await answer(shop, '/old')).toBe('shop.prod.1')
  // It is done again, and goes well.
  const joining2 = { ...effect('shop/prod', 3), definition: define({ route: { host: shop } }) }
  await edge.activities.joinEdge({ ...joining2, instances: [after.endpoint] })
  await edge.activities.leaveEdge({ ...joining2, keep: [after.endpoint.name] })
  expect(await answer(shop, '/old')).toBe('shop.prod.2')
  // A route that is free again may be taken.
  await serve('other/prod', { host: shop, path: '/old' })
  expect(await answer(shop, '/old')).toBe('other.prod.1')
  expect((await showProcesses(edge.paths)).worker).not.toBe(worker)
})

test('a killed HAProxy comes back with every route', async () => {
  await serve('shop/prod', { host: shop })
  await serve('api/prod', { host: shop, path: '/api' })
  await edge.kill()
  await edge.restart()
  await until(async () => (await answer(shop, '/api/x')) === 'api.prod.1')
  expect(await answer(shop, '/x')).toBe('shop.prod.1')
})

test('one app drains, fails and floods, and the other loses no request', async () => {
  await serve('shop/prod', { host: shop, path: '/shop' })
  const load = startLoad(`127.0.0.1:${port}`, { connections: 4, path: '/api' })
  const api = await serve('api/prod', { path: '/api' })
  // The load names 127.0.0.1 as its host, which no route names.
  await until(() => api.seen.length > 100)
  const begun = api.seen.length
  for (const epoch of [2, 3]) {
    const one = await serve('shop/prod', { host: shop, path: '/shop' }, { epoch })
    await edge.activities.leaveEdge({
      ...effect('shop/prod', epoch),
      keep: [one.endpoint.name],
    })
  }
  services.find(({ endpoint }) => endpoint.name === 'shop.prod.3')?.close()
  await until(async () => (await get(shop, '/shop')).status === 503)
  await until(() => api.seen.length > begun + 200)
  const report = await load.stop()
  // What came before the route was there is not the app's.
  const failed = report.errors.filter((line) => !line.includes('status 404'))
  expect(failed).toEqual([])
  expect(report.perInstance).toEqual({ 'api.prod.1': report.ok })
})

test('readiness by a TCP connection, side by side with readiness by a page', async () => {
  const page = await serve('shop/prod', { host: shop })
  const readiness = { tcp: true, intervalMs: 100, timeoutMs: 1000, threshold: 2, rise: 2 } as const
  const tcp = await serve('shop/prod', { host: shop }, { epoch: 2, change: { readiness } })
  const seen = new Set<unknown>()
  await until(async () => seen.add(await answer(shop, '/')).size === 2)
  await edge.activities.leaveEdge({ ...effect('shop/prod', 2), keep: [tcp.endpoint.name] })
  page.close()
  expect(await answer(shop, '/')).toBe('shop.prod.2')
  tcp.close()
  await until(async () => (await answer(shop, '/')) === 503)
  // Back to a page: the check is one of a page again.
  await serve('shop/prod', { host: shop }, { epoch: 3 })
  await edge.activities.leaveEdge({ ...effect('shop/prod', 3), keep: ['shop.prod.3'] })
  const view = await edge.activities.edgeState({ environment: 'shop/prod' })
  expect(view?.servers.map(({ name, status }) => [name, status])).toEqual([['shop.prod.3', 'UP']])
})

test('rendering: thresholds, routes of ready instances alone, and the shape that only a reload changes', () => {
  const frame = { socket: '/s', entrance: null, certificates: [] }
  const server = {
    name: 'a',
    address: '10.0.0.1',
    port: 80,
    path: '/ready',
    intervalMs: 250,
    fall: 5,
    rise: 2,
    route: { host: shop, path: '/api' },
    drainMs: 1,
    state: 'ready',
  } as const
  const opened = withPort(emptyState, 'shop/prod', 8000)
  const state = joining(opened, 'shop/prod', [server])
  expect(renderConfig(state, frame)).toContain('check inter 250ms rise 2 fall 5 weight 100')
  expect([...routesOf(state)]).toEqual([[`${shop}/api/`, 'be:shop.prod']])
  const waiting = joining(opened, 'shop/prod', [{ ...server, state: 'joining' }])
  expect([...routesOf(waiting)]).toEqual([])
  const shape = shapeOf(renderConfig(opened, frame))
  expect(shapeOf(renderConfig(state, frame))).toBe(shape)
  const byTcp = joining(opened, 'shop/prod', [{ ...server, path: null }])
  expect(shapeOf(renderConfig(byTcp, frame))).not.toBe(shape)
  expect(shapeOf(renderConfig(opened, { ...frame, certificates: ['a.pem'] }))).not.toBe(shape)
})

test('a map is changed by what differs: added and set first, what is gone last', () => {
  const present = new Map([
    ['a', '1'],
    ['b', '2'],
    ['c', '3'],
  ])
  const wanted = new Map([
    ['b', '2'],
    ['c', '4'],
    ['d', '5'],
  ])
  expect(changesOf(present, wanted)).toEqual([
    { kind: 'set', key: 'c', value: '4' },
    { kind: 'add', key: 'd', value: '5' },
    { kind: 'del', key: 'a', value: '' },
  ])
})
