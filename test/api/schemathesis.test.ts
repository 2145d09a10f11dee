import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, request as ask, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { routes, type RouteName } from '../../src/api/contract.ts'
import type { Route } from '../../src/api/route.ts'
import { findTool } from '../helpers/find-tool.ts'
import { memoryPorts, secret, startTestApi, testDigest } from '../helpers/api-ports.ts'

/**
 * schemathesis reads the OpenAPI document, makes requests of it, right and wrong, and judges the answers.
 * It speaks to the real server through a relay, which notes what was asked; with a defect in the relay it
 * must complain.
 */

type Asked = { method: string; url: string; headers: IncomingHttpHeaders }
type Answered = { status: number; headers: IncomingHttpHeaders; body: string }
type Defect = { ask?: (asked: Asked) => Asked; answer?: (answered: Answered) => Answered }

let folder: string
let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-schemathesis-'))
  ports = memoryPorts()
  const digest = testDigest('a1')
  const known = { digest, commit: 'c0ffee', subject: 'a commit' }
  const time = '2026-11-20T12:00:00Z'
  ports.state.history.push({
    ...known,
    operation: 'promotion.x',
    kind: 'promotion',
    epoch: 3,
    outcome: 'failed',
    sequence: 1,
    from: null,
    instances: 2,
    requestedBy: 'token:local',
    reason: 'a reason',
    requestedAt: time,
    endedAt: time,
    failure: { code: 'not_ready', message: 'never ready' },
  })
  const reasons = [{ rule: 'proved', message: 'not proved', fix: null }]
  ports.state.candidates.push({ ...known, sealedAt: time, eligible: false, reasons })
  api = await startTestApi(ports)
})
afterEach(async () => {
  await api.app.close()
  await rm(folder, { recursive: true, force: true })
})

async function relay(defectOf: (url: string) => Defect) {
  const seen: { method: string; path: string; status: number }[] = []
  const server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming
    const { ask: change = same, answer: spoil = same } = defectOf(url)
    const asked = change({ method, url, headers })
    const onward = ask(api.address, { ...asked, path: asked.url }, async (answer) => {
      const parts: Buffer[] = []
      for await (const part of answer) parts.push(part as Buffer)
      const { statusCode: status = 0, headers: head } = answer
      seen.push({ method, path: url.replace(/\?.*/, ''), status })
      const { 'content-length': _, 'transfer-encoding': __, ...kept } = head
      const told = spoil({ status, headers: kept, body: Buffer.concat(parts).toString('latin1') })
      outgoing.writeHead(told.status, told.headers)
      outgoing.end(Buffer.from(told.body, 'latin1'))
    })
    onward.on('error', () => outgoing.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    seen,
    address: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

function same<T>(what: T): T {
  return what
}

const checks = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'negative_data_rejection',
  'unsupported_method',
  'allow_header_conformance',
  'ignored_auth',
]

type Report = {
  exit_code: number
  operations: { tested: number }
  failures: { title: string; operations: string[] }[]
}

async function schemathesis(address: string, ...more: string[]) {
  const file = join(folder, 'report.json')
  const { all } = await execa(
    findTool('schemathesis'),
    [
      ['run', `${address}/openapi.json`, '--header', `Authorization: Bearer ${secret}`],
      ['--checks', checks.join(','), '--max-examples', '3'],
      ['--seed', '4', '--generation-database', 'none', '--workers', '1', '--no-color'],
      ['--request-timeout', '30', '--suppress-health-check', 'all', '--continue-on-failure'],
      ['--report', 'json', '--report-json-path', file, ...more],
    ].flat(),
    { cwd: folder, all: true, reject: false, timeout: 240_000, env: { COLUMNS: '120' } },
  )
  const report = JSON.parse(
    await readFile(file, 'utf8').catch(() => `{"said":${JSON.stringify(all)}}`),
  )
  return { ...(report as Report), said: all }
}

test('the API keeps what its OpenAPI document says', { timeout: 300_000 }, async () => {
  const { address, seen, close } = await relay(() => ({}))
  const phases = ['--phases', 'coverage,fuzzing']
  const { exit_code: exitCode, operations, said } = await schemathesis(address, ...phases)
  await close()
  expect(exitCode === 0 ? 'nothing to say' : said).toBe('nothing to say')
  // All but the document itself, which it only reads.
  expect(operations.tested).toBe(Object.keys(routes).length - 1)
  // Checks of answers that never came would hold as well: every route did its work, and was closed.
  const never = Object.entries<Route>(routes).flatMap(([name, route]) => {
    const statuses = new Set(seen.filter((one) => isOf(route, one)).map(({ status }) => status))
    const closed = route.access === 'token' && name !== 'openapi' ? [401] : []
    // A tile's path has several segments, which OpenAPI cannot say: routes.test.ts reads one.
    return [...(name === 'tile' ? [400] : [route.status]), ...closed]
      .filter((status) => !statuses.has(status))
      .map((status) => `${name} never answered ${status}`)
  })
  expect(never).toEqual([])
})

function isOf(route: Route, { method, path }: { method: string; path: string }): boolean {
  const pattern = route.path.replaceAll('.', '\\.').replaceAll(/:[a-z]+/gi, '[^/]+')
  return method === route.method && new RegExp(`^${pattern.replace('*', '.+')}$`).test(path)
}

const ofJson = (change: (document: object) => object) => (told: Answered) =>
  told.status === 200
    ? { ...told, body: JSON.stringify(change(JSON.parse(told.body) as object)) }
    : told

const defects: [route: RouteName, what: string, defect: Defect, complaint: string][] = [
  [
    'operations',
    'a status that is not in the document',
    { answer: (told) => (told.status === 200 ? { ...told, status: 203 } : told) },
    'Undocumented status code',
  ],
  [
    'environments',
    'another content type',
    { answer: (told) => ({ ...told, headers: { 'content-type': 'text/html' } }) },
    'Undocumented Content-Type',
  ],
  [
    'watches',
    'an undeclared field',
    { answer: ofJson((document) => ({ ...document, more: 1 })) },
    'Response violates schema',
  ],
  [
    'status',
    'a field that is missing',
    { answer: ofJson((document) => ({ ...document, version: undefined })) },
    'Response violates schema',
  ],
  [
    'artifacts',
    'wrong input taken',
    { ask: (asked) => ({ ...asked, url: asked.url.replace(/\?.*/, '') }) },
    'Schema-violating request accepted',
  ],
  [
    'checkpoint',
    'any method taken',
    { ask: (asked) => ({ ...asked, method: 'GET' }) },
    'Wrong response to undeclared method',
  ],
  [
    'webhooks',
    'nobody asked for the token',
    {
      ask: ({ headers, ...asked }) => ({
        ...asked,
        headers: { ...headers, authorization: `Bearer ${secret}` },
      }),
    },
    'API accepts requests without authentication',
  ],
]

test('schemathesis complains of every kind of defect, where it is', async () => {
  // A handler that throws.
  ports.state.failure = new TypeError('a defect')
  const expected = [
    ...defects.map(
      ([name, , , complaint]) =>
        `${name === 'checkpoint' ? 'TRACE' : 'GET'} ${routes[name].path}: ${complaint}`,
    ),
    `POST ${routes.promote.path}: Server error`,
  ].map((line) => line.replaceAll(/:([a-z]+)/g, '{$1}'))
  const { address, close } = await relay((url) => {
    const found = defects.find(([name]) => url.replace(/\?.*/, '') === routes[name].path)
    return found?.[2] ?? {}
  })
  const names = [...defects.map(([name]) => name), 'promote']
  // What is drawn at random adds no kind of complaint.
  const only = names.flatMap((name) => ['--include-operation-id', name])
  const args = ['--phases', 'coverage', ...only]
  const { exit_code: exitCode, failures } = await schemathesis(address, ...args)
  await close()
  const told = failures.flatMap(({ title, operations }) =>
    operations.map((operation) => `${operation}: ${title}`),
  )
  expect(told).toEqual(expect.arrayContaining(expected))
  expect(exitCode).toBe(1)
})
