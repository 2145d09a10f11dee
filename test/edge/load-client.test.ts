import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'
import { startLoad } from '../helpers/load-client.ts'
import { until } from '../runtime/host-at-hand.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

type Answer = (id: string, response: ServerResponse, count: number) => void

async function service(answer: Answer) {
  const ids: string[] = []
  const sockets = new Set<Socket>()
  const take = async (request: IncomingMessage, response: ServerResponse) => {
    sockets.add(request.socket)
    const id = await idOf(request)
    ids.push(id)
    answer(id, response, ids.length)
  }
  const server = createServer((request, response) => void take(request, response))
  server.listen(0, '127.0.0.1')
  closing.push(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, ids, sockets }
}

async function idOf(request: IncomingMessage): Promise<string> {
  const { id } = JSON.parse(await text(request)) as { id: string }
  return request.method === 'POST' && request.headers['x-request-id'] === id ? id : 'wrong'
}

test('it counts what it sent, over connections that it keeps', async () => {
  const { address, ids, sockets } = await service((id, response) => {
    response.setHeader('x-kiln-instance', 'a')
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ id }))
  })
  const load = startLoad(address, { connections: 3, maxRequests: 300 })
  await until(() => ids.length === 300)
  const report = await load.stop()
  expect(report).toMatchObject({
    sent: 300,
    ok: 300,
    failed: 0,
    errors: [],
    perInstance: { a: 300 },
  })
  expect(report.p50).toBeGreaterThan(0)
  expect(report.p99).toBeGreaterThanOrEqual(report.p50)
  expect(new Set(ids).size).toBe(300)
  expect(sockets.size).toBe(3)
})

test('every kind of failure is counted, and nothing is sent twice', async () => {
  const { address, ids } = await service((id, response, count) => {
    if (count === 1) response.socket?.destroy()
    else if (count === 2) response.writeHead(503).end('nothing serves')
    else if (count === 3)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"another"}')
    else if (count === 4)
      response
        .writeHead(200, { 'content-length': 10 })
        .write('half', () => response.socket?.destroy())
    else response.end(id)
  })
  const load = startLoad(address, { connections: 1, maxRequests: 6 })
  await until(() => ids.length === 6)
  const report = await load.stop()
  expect(report).toMatchObject({ sent: 6, ok: 2, failed: 4 })
  expect(report.errors.map((error) => error.replace(/^\S+ /, ''))).toEqual([
    'socket hang up',
    'status 503: nothing serves',
    "another request's answer: another",
    'aborted',
  ])
  expect(new Set(ids).size).toBe(6)
})

test.each([
  '--address=192.0.2.1:80',
  '--address=example.org:80',
  '--address=127.0.0.1',
  '--connections=0',
])('it refuses %s', async (argument) => {
  const script = fileURLToPath(new URL('../../scripts/load-client.ts', import.meta.url))
  const child = spawn(process.execPath, [script, '--address=127.0.0.1:1', argument], {
    stdio: 'pipe',
  })
  const [error] = await Promise.all([text(child.stderr), once(child, 'close')])
  expect(child.exitCode).toBe(2)
  expect(error).toContain(argument.split('=')[0])
})
