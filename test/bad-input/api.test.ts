import { connect } from 'node:net'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { problem } from '../../src/api/views.ts'
import { memoryPorts, secret, startTestApi, testDigest } from '../helpers/api-ports.ts'

/** Numbers are those of the catalogue in docs/bad-input.md. Each refusal: typed, in the log, and nothing began. */
let lines: string[]
let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  lines = []
  ports = memoryPorts()
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  api = await startTestApi(ports, { logger })
})
afterEach(() => api.app.close())

const root = '/api/v1'
const prod = `${root}/environments/hello/prod`
const digest = testDigest('a1')

type Asked = { method?: string; path: string; body?: string; headers?: Record<string, string> }

const post = (path: string, body: unknown, headers: Record<string, string> = {}): Asked => ({
  method: 'POST',
  path,
  headers,
  body: typeof body === 'string' ? body : JSON.stringify(body),
})
const promote = (body: unknown, headers: Record<string, string> = {}) =>
  post(`${prod}/promote`, body, headers)
const get = (path: string) => ({ path })

async function ask({ method = 'GET', path, body, headers = {} }: Asked): Promise<Response> {
  return fetch(`${api.address}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${secret}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body ?? null,
  })
}

const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`

type Row = [number: number, what: string, asked: Asked, status: number, code: string]

const rows: Row[] = [
  [
    24,
    'another environment in the body',
    promote({ digest, environment: 'hello/dev' }),
    400,
    'invalid_input',
  ],
  [24, 'another app in the body', promote({ digest, app: 'other' }), 400, 'invalid_input'],
  [
    24,
    'another environment in the query',
    post(`${prod}/promote?environment=dev`, { digest }),
    400,
    'invalid_input',
  ],
  [24, 'a list for a text', promote({ digest: [digest] }), 400, 'invalid_input'],
  [24, 'a list for a number', post(`${prod}/scale`, { instances: [2] }), 400, 'invalid_input'],
  [24, 'text for a number', post(`${prod}/scale`, { instances: '2' }), 400, 'invalid_input'],
  [24, 'an app twice', get(`${root}/artifacts?app=a&app=b`), 400, 'invalid_input'],
  [24, 'an app as a list', get(`${root}/artifacts?app[]=a`), 400, 'invalid_input'],
  [24, 'a slash inside a name', get(`${root}/environments/hello%2Fdev/prod`), 400, 'invalid_input'],
  [
    24,
    'a field twice is the last one, and must hold by itself',
    promote(`{"digest":"${digest}","digest":1}`),
    400,
    'invalid_input',
  ],
  [24, '__proto__', promote(`{"digest":"${digest}","__proto__":{"a":1}}`), 400, 'invalid_input'],
  [24, 'a body 30,000 deep', promote(deep), 400, 'invalid_input'],
  [
    25,
    'a key that is none',
    promote({ digest }, { 'idempotency-key': 'short' }),
    400,
    'invalid_input',
  ],
  [
    25,
    'two keys',
    promote({ digest }, { 'idempotency-key': 'one-key-1, two-key-2' }),
    400,
    'invalid_input',
  ],
  [29, 'a digest with a space', promote({ digest: ` ${digest}` }), 400, 'invalid_input'],
  [29, 'a digest with a line feed', promote({ digest: `${digest}\n` }), 400, 'invalid_input'],
  [29, 'a digest in capitals', promote({ digest: digest.toUpperCase() }), 400, 'invalid_input'],
  [
    29,
    'another algorithm',
    promote({ digest: digest.replace('sha256', 'sha512') }),
    400,
    'invalid_input',
  ],
  [29, 'a digest of 63 letters', promote({ digest: digest.slice(0, -1) }), 400, 'invalid_input'],
  [29, 'a tag', promote({ digest: 'latest' }), 400, 'invalid_input'],
  [29, 'a digest that nothing has', get(`${root}/artifacts/${testDigest('ee')}`), 404, 'not_found'],
  [30, 'a limit of -1', get(`${root}/artifacts?limit=-1`), 400, 'invalid_input'],
  [30, 'a limit of 1e9', get(`${root}/artifacts?limit=1e9`), 400, 'invalid_input'],
  [30, 'a limit of NaN', get(`${root}/artifacts?limit=NaN`), 400, 'invalid_input'],
  [30, 'an empty limit', get(`${root}/artifacts?limit=`), 400, 'invalid_input'],
  [
    30,
    'a cursor of 201 letters',
    get(`${root}/artifacts?cursor=${'x'.repeat(201)}`),
    400,
    'invalid_input',
  ],
  [
    30,
    'a sequence of 2^53 + 1',
    get(`${root}/keys/hello/prod/9007199254740993`),
    400,
    'invalid_input',
  ],
  [31, 'CRLF in a reason', promote({ digest, reason: 'a\r\nset-cookie: b' }), 400, 'invalid_input'],
  [
    31,
    'a terminal code in a reason',
    promote({ digest, reason: '\u001b[2J' }),
    400,
    'invalid_input',
  ],
  [
    31,
    'a direction mark in a reason',
    promote({ digest, reason: 'a\u202eb' }),
    400,
    'invalid_input',
  ],
  [
    31,
    'half a letter in a reason',
    promote(`{"digest":"${digest}","reason":"\\ud800"}`),
    400,
    'invalid_input',
  ],
  [31, 'a NUL in a reason', promote({ digest, reason: 'a\0' }), 400, 'invalid_input'],
  [
    31,
    'markup for a name',
    get(`${root}/environments/%3Cimg%20onerror%3D1%3E/prod`),
    400,
    'invalid_input',
  ],
  [31, 'CRLF in a path', get(`${root}/operations/a%0d%0ab`), 404, 'not_found'],
  [32, 'a path that is no text', get(`${root}/operations/%ff`), 400, 'invalid_input'],
  [32, 'a path with a broken escape', get(`${root}/operations/%zz`), 400, 'invalid_input'],
  [32, 'a body over 64 KB', promote({ digest, reason: 'x'.repeat(70_000) }), 413, 'invalid_input'],
  [
    32,
    'a form',
    promote('digest=x', { 'content-type': 'application/x-www-form-urlencoded' }),
    415,
    'invalid_input',
  ],
  [32, 'no kind of content', promote('{}', { 'content-type': '' }), 415, 'invalid_input'],
  [32, 'half a document', promote('{"digest":'), 400, 'invalid_input'],
  [
    32,
    'a method that a path does not take',
    { method: 'DELETE', path: `${prod}/promote` },
    405,
    'method_not_allowed',
  ],
  [
    32,
    'a method for a name with a colon',
    { method: 'PUT', path: `${root}/operations/build:1` },
    405,
    'method_not_allowed',
  ],
  [32, 'a path that is none', get(`${root}/nothing`), 404, 'not_found'],
]

test.each(rows)('%i %s is refused, typed and in the log, and nothing begins', async (...row) => {
  const [, , asked, status, code] = row
  const answer = await ask(asked)
  const told = problem.strict().parse(await answer.json())
  expect({ status: answer.status, code: told.code }).toEqual({ status, code })
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
  const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(logged).toContainEqual(
    expect.objectContaining({
      reqId: told.requestId,
      code,
      status,
      place: told.place,
      msg: told.message,
    }),
  )
  expect(logged.filter(({ level }) => Number(level) > 30)).toEqual([])
  expect(ports.state.started).toEqual([])
})

/** What no client library sends, byte for byte; the answer as it came. */
async function raw(bytes: string): Promise<string> {
  const socket = connect(Number(new URL(api.address).port), '127.0.0.1')
  socket.end(bytes)
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

const line = `POST ${prod}/promote HTTP/1.1\r\nhost: kiln\r\nauthorization: Bearer ${secret}\r\ncontent-type: application/json\r\n`
const body = JSON.stringify({ digest })

const rawRows: [number, string, string, number][] = [
  [
    32,
    'a length and chunks',
    `${line}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${line}content-length: ${body.length}\r\n\r\n${body}`,
    400,
  ],
  [
    32,
    'two lengths',
    `${line}content-length: 2\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    400,
  ],
  [32, 'a length that is none', `${line}content-length: +2\r\n\r\n{}`, 400],
  [
    32,
    'chunks that are none',
    `${line}transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`,
    400,
  ],
  [
    32,
    'a bare line feed in a header',
    `${line.replace('host: kiln\r\n', 'host: kiln\nx: y\r\n')}content-length: 2\r\n\r\n{}`,
    400,
  ],
  [32, 'a header of 64 KB', `${line}x: ${'y'.repeat(65_536)}\r\n\r\n`, 431],
  [32, 'no HTTP', 'hello\r\n\r\n', 400],
  [32, 'HTTP/2 at once', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
]

test.each(rawRows)('%i %s ends the connection, typed and in the log', async (...row) => {
  const [, , bytes, status] = row
  const answer = await raw(bytes)
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  const told = problem.strict().parse(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)))
  expect(told).toMatchObject({ code: 'invalid_input', status })
  expect(lines.map((one) => JSON.parse(one) as object)).toContainEqual(
    expect.objectContaining({ code: 'invalid_input', status }),
  )
  expect(ports.state.started).toEqual([])
  expect((await fetch(`${api.address}/health`)).status).toBe(200)
})

test('25 a key with another request is refused, and the first one stands', async () => {
  const key = { 'idempotency-key': 'deploy-00001' }
  expect((await ask(promote({ digest }, key))).status).toBe(202)
  const other = await ask(promote({ digest: testDigest('b2') }, key))
  expect(other.status).toBe(409)
  expect(await other.json()).toMatchObject({ code: 'refused', place: 'Idempotency-Key' })
  expect(lines.some((one) => one.includes('"code":"refused"'))).toBe(true)
  expect(ports.state.started).toHaveLength(1)
})

test('30 every route that gives pages refuses what is no page', async () => {
  const paths = ['operations', 'artifacts', 'environments/hello/prod/history']
  for (const path of paths) {
    for (const query of ['limit=0', 'limit=201', 'limit=1.5', 'limit=2&limit=3', 'more=1']) {
      expect((await ask(get(`${root}/${path}?${query}`))).status).toBe(400)
    }
  }
})

test('all of it at once: who asks for what is right is answered all the while', async () => {
  const wanted = 20
  const answers: number[] = []
  const good = async () => {
    for (let round = 0; round < wanted; round += 1) {
      answers.push((await ask(get(`${root}/environments`))).status)
      answers.push((await ask(promote({ digest }))).status)
    }
  }
  let poured = 0
  const pour = async () => {
    do {
      await Promise.all(rows.map(([, , asked]) => ask(asked)))
      await Promise.all(rawRows.map(([, , bytes]) => raw(bytes)))
      poured += rows.length + rawRows.length
    } while (answers.length < 2 * wanted)
  }
  await Promise.all([good(), pour(), pour()])
  expect(poured).toBeGreaterThanOrEqual(2 * (rows.length + rawRows.length))
  expect(answers).toEqual(Array.from({ length: wanted }, () => [200, 202]).flat())
  expect(ports.state.started).toHaveLength(wanted)
})
