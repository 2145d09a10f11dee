import { afterEach, beforeEach, expect, test } from 'vitest'
import { client, RemoteError } from '../../src/api/client.ts'
import { problem } from '../../src/api/views.ts'
import { errors, isErrorCode, KilnError, type ErrorCode } from '../../src/domain/error.ts'
import {
  memoryPorts,
  secret,
  startTestApi,
  testArtifact,
  testDigest,
} from '../helpers/api-ports.ts'

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  ports = memoryPorts()
  api = await startTestApi(ports)
})
afterEach(() => api.app.close())

const params = { app: 'hello', environment: 'prod' }
const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }
const promote = (body: string, more: Record<string, string> = {}) =>
  fetch(`${api.address}/api/v1/environments/hello/prod/promote`, {
    method: 'POST',
    headers: { ...headers, ...more },
    body,
  })
const good = JSON.stringify({ digest: testDigest('a1') })

test.each(Object.keys(errors).filter(isErrorCode))(
  '%s keeps its words and gets its status',
  async (code: ErrorCode) => {
    ports.state.failure = new KilnError(code, `why ${code}`, {
      place: 'kiln.yaml:6:11',
      fix: 'do this',
      lines: ['a'],
    })
    const answer = await promote(good)
    expect(answer.status).toBe(errors[code].http)
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    const told = problem.strict().parse(await answer.json())
    expect(told).toMatchObject({
      type: `docs/errors.md#${code}`,
      code,
      message: `why ${code}`,
      place: 'kiln.yaml:6:11',
      fix: 'do this',
      lines: ['a'],
    })
    expect(told.requestId).toMatch(/^[0-9a-f-]{36}$/)
  },
)

test('an error that is not of Kiln says nothing of its inside', async () => {
  ports.state.failure = new TypeError('canary-4b in /srv/inside.ts')
  const answer = await promote(good)
  expect(answer.status).toBe(500)
  const text = await answer.text()
  expect(text).not.toMatch(/canary|srv|stack|TypeError/)
  expect(JSON.parse(text)).toMatchObject({ code: 'internal' })
})

test('the client throws the error that the server meant', async () => {
  ports.state.failure = new KilnError('refused', 'no', { fix: 'kiln release hello/prod' })
  const call = client(api).promote({ params, body: { digest: testDigest('a1') } })
  await expect(call).rejects.toBeInstanceOf(RemoteError)
  await expect(call).rejects.toMatchObject({ code: 'refused', fix: 'kiln release hello/prod' })
})

test('the client says when nobody answers', async () => {
  const kiln = client({ address: api.address, token: secret })
  await api.app.close()
  await expect(kiln.health({})).rejects.toMatchObject({ code: 'not_running', fix: 'kiln up' })
})

test.each([
  ['not JSON', '{', 400],
  ['no object', '[]', 400],
  ['nothing, written out', 'null', 400],
  ['a digest with a space', JSON.stringify({ digest: `${testDigest('a1')} ` }), 400],
  ['another algorithm', JSON.stringify({ digest: testDigest('a1').replace('256', '512') }), 400],
  ['a short digest', JSON.stringify({ digest: 'sha256:abcdef' }), 400],
  ['a list for a string', JSON.stringify({ digest: [testDigest('a1')] }), 400],
  ['a prototype', `{"digest":"${testDigest('a1')}","__proto__":{"x":1}}`, 400],
  ['too much', JSON.stringify({ digest: testDigest('a1'), reason: 'x'.repeat(70_000) }), 413],
])('%s is refused, and nothing begins', async (_what, body, status) => {
  const answer = await promote(body)
  expect(answer.status).toBe(status)
  expect(await answer.json()).toMatchObject({ code: 'invalid_input' })
  expect(ports.state.started).toEqual([])
})

test('every wrong field is named', async () => {
  const answer = await fetch(`${api.address}/api/v1/builds`, {
    method: 'POST',
    headers,
    body: '{"useCache":"no"}',
  })
  expect(await answer.json()).toMatchObject({
    message: expect.stringMatching(/body\.repository: .*body\.revision: .*body\.useCache: /),
    place: 'body.repository',
  })
})

test('a form is not taken for JSON', async () => {
  expect(
    (await promote('digest=x', { 'content-type': 'application/x-www-form-urlencoded' })).status,
  ).toBe(415)
})

const rotate = (body: string | null, more: Record<string, string>) =>
  fetch(`${api.address}/api/v1/environments/hello/prod/rotate`, {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, ...more },
    body,
  })

test('a body in which nothing is required may be left out; one that is null is refused', async () => {
  const refused = await rotate('null', { 'content-type': 'application/json' })
  expect(refused.status).toBe(400)
  expect(ports.state.started).toEqual([])
  expect((await rotate(null, {})).status).toBe(202)
})

test.each([
  ['QUERY', {}],
  ['PUT', { 'content-type': 'no type' }],
  ['PUT', { 'content-type': 'application/xml' }],
])('a method that is not taken is a 405, whatever it sends: %s %j', async (method, more) => {
  const answer = await fetch(`${api.address}/health`, {
    method,
    headers: { authorization: `Bearer ${secret}`, ...more },
    ...(method === 'PUT' ? { body: 'x' } : {}),
  })
  expect(answer.status).toBe(405)
  expect(answer.headers.get('allow')).toBe('GET, HEAD')
  expect(await answer.json()).toMatchObject({ code: 'method_not_allowed' })
})

test.each([
  '?limit=0',
  '?limit=201',
  '?limit=-1',
  '?limit=1e9',
  '?limit=5&limit=6',
  '?cursor=1&cursor=2',
])('a page with %s is refused', async (query) => {
  expect((await fetch(`${api.address}/api/v1/artifacts${query}`, { headers })).status).toBe(400)
})

test.each(['../head', '0/../../head', '%2e%2e/head', '0/000/..', 'entries/abc', '0/00'])(
  'a tile path %s is refused',
  async (path) => {
    const answer = await fetch(`${api.address}/api/v1/tile/${path}`, { headers })
    expect([400, 404]).toContain(answer.status)
  },
)

test('a beginning of a digest is enough when only one artifact has it', async () => {
  const twin = {
    ...testArtifact('a1'),
    digest: testDigest('a1').replace(/.$/, '0') as (typeof ports.state.artifacts)[0]['digest'],
  }
  const kiln = client(api)
  expect(await kiln.artifact({ params: { digest: 'a1a1a1' } })).toMatchObject({
    digest: testDigest('a1'),
  })
  await expect(kiln.artifact({ params: { digest: 'a1a1a' } })).rejects.toMatchObject({
    code: 'invalid_input',
  })
  await expect(kiln.artifact({ params: { digest: 'dddddd' } })).rejects.toMatchObject({
    code: 'not_found',
  })
  ports.state.artifacts.push(twin)
  await expect(kiln.sbom({ params: { digest: 'a1a1a1' } })).rejects.toMatchObject({
    code: 'ambiguous',
    lines: [testDigest('a1'), twin.digest],
  })
})

test('the same Idempotency-Key again is the same operation; with another request it is refused', async () => {
  const key = { 'idempotency-key': 'deploy-0001' }
  const first = (await (await promote(good, key)).json()) as { operation: { id: string } }
  const again = (await (await promote(good, key)).json()) as { operation: { id: string } }
  expect(again.operation.id).toBe(first.operation.id)
  expect(ports.state.started).toHaveLength(1)
  const other = await promote(JSON.stringify({ digest: testDigest('b2') }), key)
  expect(other.status).toBe(409)
  expect(await other.json()).toMatchObject({ code: 'refused', place: 'Idempotency-Key' })
  const elsewhere = await fetch(`${api.address}/api/v1/environments/hello/test/promote`, {
    method: 'POST',
    headers: { ...headers, ...key },
    body: good,
  })
  expect(elsewhere.status).toBe(409)
  expect(ports.state.started).toHaveLength(1)
})

test('without a key each request is its own', async () => {
  await promote(good)
  await promote(good)
  const ids = ports.state.started.map(({ asked }) => asked.id)
  expect(new Set(ids).size).toBe(2)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
})

test.each(['short', 'x'.repeat(201), 'with space'])('the key %j is refused', async (key) => {
  expect((await promote(good, { 'idempotency-key': key })).status).toBe(400)
})

test('a token that is too short to be one is refused at start', async () => {
  await expect(
    startTestApi(ports, { token: { name: 'x', secret: 'short' } }),
  ).rejects.toMatchObject({
    code: 'invalid_input',
  })
})
