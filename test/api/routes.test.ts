import { afterEach, beforeEach, expect, test } from 'vitest'
import type { z } from 'zod'
import { routes, type RouteName } from '../../src/api/contract.ts'
import { pathOf, type Route } from '../../src/api/route.ts'
import { memoryPorts, secret, startTestApi, testDigest } from '../helpers/api-ports.ts'

const params = {
  app: 'hello',
  environment: 'prod',
  sequence: '2',
  digest: testDigest('a1'),
  id: 'build.x',
  '*': '0/000',
  role: 'promote',
}

const bodies: Partial<Record<RouteName, object>> = {
  startBuild: { repository: '/srv/hello', revision: 'main' },
  logEntry: {
    hashedRekordRequestV002: {
      digest: 'AAAA',
      signature: {
        content: 'AAAA',
        verifier: { publicKey: { rawBytes: 'AAAA' }, keyDetails: 'PKIX_ECDSA_P256_SHA_256' },
      },
    },
  },
  startRebuild: { digest: testDigest('a1') },
  revoke: { subject: { kind: 'artifact', digest: testDigest('a1') }, reason: 'leaked' },
  promote: { digest: testDigest('a1') },
  rollback: {},
  scale: { instances: 2 },
  release: {},
  breakGlass: { instance: 'kiln.hello.prod.3.1', reason: 'it hangs' },
  cancel: {},
  startWatch: { repository: '/srv/hello' },
  reindex: {},
  rotateSigningKey: { replaces: testDigest('dd') },
}

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  ports = memoryPorts()
  api = await startTestApi(ports)
})
afterEach(() => api.app.close())

const table = Object.entries<Route>(routes).map(([name, route]) => ({
  name: name as RouteName,
  route,
}))

function request(route: Route, init: { token?: string | null; body?: unknown; query?: string }) {
  const authorization =
    init.token === null ? {} : { authorization: `Bearer ${init.token ?? secret}` }
  return fetch(`${api.address}${pathOf(route.path, params)}${init.query ?? ''}`, {
    method: route.method,
    headers: {
      ...authorization,
      ...(route.method === 'POST' ? { 'content-type': 'application/json' } : {}),
    },
    body: route.method === 'POST' ? JSON.stringify(init.body ?? {}) : null,
  })
}

test.each(table.filter(({ route }) => route.access === 'token'))(
  '$name is closed without the token and with another one',
  async ({ name, route }) => {
    const others = ['', 'x', `${secret}x`, secret.slice(0, -1), `${secret.slice(0, -1)}X`]
    for (const token of [null, ...others]) {
      const answer = await request(route, { token, body: bodies[name] })
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({ code: 'unauthenticated' })
    }
    expect(ports.state.started).toEqual([])
  },
)

test('only health and the public log are open', async () => {
  expect(table.filter(({ route }) => route.access === 'open').map(({ name }) => name)).toEqual([
    'health',
    'checkpoint',
    'tile',
    'freshness',
    'trustedRoot',
    'verifierKey',
    'logEntry',
  ])
  expect((await request(routes.health, { token: null })).status).toBe(200)
})

test('a path that is no route is closed as well, and tells nothing', async () => {
  expect((await fetch(`${api.address}/api/v1/nothing`)).status).toBe(401)
  expect((await fetch(`${api.address}/health`, { method: 'DELETE' })).status).toBe(401)
})

test('the server serves each route of the contract, the door of webhooks, and no other', () => {
  const served = api.app.printRoutes({ commonPrefix: false })
  for (const { route } of table)
    expect(api.app.hasRoute({ method: route.method, url: route.path })).toBe(true)
  const methods = [...served.matchAll(/\(([A-Z, ]+)\)/g)].flatMap(([, list = '']) =>
    list.split(', '),
  )
  // Forges send there, and sign what they send: test/bad-input/webhooks.test.ts.
  const doors = table.length + 1
  expect(api.app.hasRoute({ method: 'POST', url: '/webhooks/:forge' })).toBe(true)
  expect(methods.filter((method) => method !== 'HEAD')).toHaveLength(doors)
})

test.each(table.filter(({ route }) => route.method === 'POST'))(
  '$name refuses a field that the contract lacks',
  async ({ name, route }) => {
    const known = Object.keys(((routes[name] as Route).body as z.ZodObject).shape)
    const surprises = ['surprise', 'app', 'environment', 'principal'].filter(
      (key) => !known.includes(key),
    )
    expect(surprises.length).toBeGreaterThan(2)
    for (const key of surprises) {
      const more = { [key]: 'other' }
      const answer = await request(route, { body: { ...bodies[name], ...more } })
      expect(answer.status).toBe(400)
      expect(await answer.json()).toMatchObject({ code: 'invalid_input' })
    }
    const repeated = await request(route, { body: bodies[name], query: '?environment=dev' })
    expect(repeated.status).toBe(400)
    expect(ports.state.started).toEqual([])
  },
)

test.each(table.filter(({ route }) => route.answer.kind === 'json'))(
  '$name answers with what the contract says and nothing besides',
  async ({ name, route }) => {
    if (route.path.includes(':id')) {
      const { operation } = await begun()
      await ports.watches.start(
        { principal: { name: 'local', kind: 'token' }, id: 'w' },
        { repository: 'r', branches: [] },
      )
      params.id = name === 'stopWatch' ? 'watch.1' : operation.id
    }
    const answer = await request(route, { body: bodies[name] })
    expect(answer.status).toBe(route.status)
    const body: unknown = await answer.json()
    if (route.answer.kind !== 'json') throw new Error('unreachable')
    expect(route.answer.schema.parse(body)).toEqual(body)
  },
)

async function begun() {
  const answer = await request(routes.promote, { body: bodies.promote })
  return (await answer.json()) as { operation: { id: string } }
}

test('a field that the contract does not declare never leaves the server', async () => {
  Object.assign(ports.state.artifacts[0] ?? {}, { signingKey: 'canary-5d1f' })
  const answer = await request(routes.artifact, {})
  expect(answer.status).toBe(200)
  expect(await answer.text()).not.toContain('canary-5d1f')
})

test('an answer that breaks the contract is an error without its contents', async () => {
  Object.assign(ports.state.environments[0] ?? {}, { epoch: 'canary-77' })
  const answer = await request(routes.environments, {})
  expect(answer.status).toBe(500)
  expect(await answer.text()).not.toContain('canary-77')
})

test.each([
  ['checkpoint', 'text/plain', 'kiln.test\n7\nAAAA\n'],
  ['instanceLogs', 'text/plain', 'hello-prod-1 | a line\n'],
  ['buildLog', 'text/plain', 'one\ntwo\n'],
  ['sbom', 'application/json', JSON.stringify({ digest: testDigest('a1'), what: 'sbom' })],
  [
    'provenance',
    'application/json',
    JSON.stringify({ digest: testDigest('a1'), what: 'provenance' }),
  ],
  ['key', 'application/json', JSON.stringify({ name: 'hello/prod', sequence: 2 })],
  ['tile', 'application/octet-stream', Buffer.from([0, 255, 1]).toString('latin1')],
] as const)('%s is served as %s, as it is', async (name, type, expected) => {
  params.id = 'build.x'
  const answer = await request(routes[name], {})
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toContain(type)
  expect(Buffer.from(await answer.bytes()).toString('latin1')).toBe(expected)
})

test('only the path says which environment is meant', async () => {
  await request(routes.promote, { body: bodies.promote })
  expect(ports.state.started[0]?.input).toEqual({
    environment: 'hello/prod',
    digest: testDigest('a1'),
    reason: 'no reason given',
  })
  for (const path of [
    'hello%2Fdev/prod',
    'hello/prod%2F..',
    'Hello/prod',
    '__proto__/prod',
    'hello/-prod',
  ]) {
    const answer = await fetch(`${api.address}/api/v1/environments/${path}`, {
      headers: { authorization: `Bearer ${secret}` },
    })
    expect([400, 404]).toContain(answer.status)
  }
})

test('the OpenAPI document names every route, its token and its errors', async () => {
  const answer = await request(routes.openapi, {})
  const document = (await answer.json()) as OpenApi
  expect(document.openapi).toBe('3.1.0')
  const ids = new Set<string>()
  for (const { name, route } of table) {
    const path = route.path.replaceAll(/:([a-z]+)/gi, '{$1}').replace('*', '{*}')
    const operation = document.paths[path]?.[route.method.toLowerCase()]
    expect(operation, `${name} at ${path}`).toMatchObject({
      operationId: name,
      summary: route.summary,
    })
    expect(operation?.security).toEqual(route.access === 'open' ? [] : [{ token: [] }])
    expect(Object.keys(operation?.responses ?? {})).toEqual([String(route.status), '4XX', '5XX'])
    expect(operation?.responses['4XX']).toHaveProperty(['content', 'application/problem+json'])
    const mayBeLeftOut = route.method === 'POST' && route.body.safeParse({}).success
    expect(operation?.requestBody?.required).toBe(
      route.method === 'POST' ? !mayBeLeftOut : undefined,
    )
    ids.add(operation?.operationId ?? '')
    for (const [, inPath = ''] of path.matchAll(/\{([^}]+)\}/g)) {
      expect(
        operation?.parameters?.some(
          (one) => one.in === 'path' && one.name === inPath && one.required,
        ),
      ).toBe(true)
    }
  }
  expect(ids.size).toBe(table.length)
  for (const [, name = ''] of JSON.stringify(document).matchAll(
    /"\$ref":"#\/components\/schemas\/([^"]+)"/g,
  )) {
    expect(Object.keys(document.components.schemas)).toContain(name)
  }
})

type OpenApi = {
  openapi: string
  components: { schemas: Record<string, unknown> }
  paths: Record<string, Record<string, OpenApiOperation>>
}

type OpenApiOperation = {
  operationId: string
  security: unknown
  responses: Record<string, object>
  requestBody?: { required: boolean }
  parameters?: { in: string; name: string; required: boolean }[]
}

const verified = (query: string) => request(routes.verification, { query })

test('a key that is refused is an answer; one that is not there is not, and says where keys are listed', async () => {
  const refused = await verified('')
  expect(refused.status).toBe(200)
  expect(await refused.json()).toMatchObject({ subject: 'hello/prod@2', passed: false })
  const none = await verified('?sequence=7')
  expect(none.status).toBe(404)
  expect(await none.json()).toMatchObject({ code: 'not_found', fix: 'kiln history hello/prod' })
  for (const query of [
    '?sequence=0',
    '?sequence=2.5',
    '?sequence=',
    '?key=2',
    '?sequence=1&sequence=2',
  ])
    expect((await verified(query)).status).toBe(400)
})
