import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import ms from 'ms'

const port = Number(process.env.PORT ?? 8080)
const workMs = ms(process.env.WORK_TIME ?? '0ms')
const message = readFileSync(new URL('message.txt', import.meta.url), 'utf8').trim()
const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'))
const maxBodyBytes = 64 * 1024

let stopping = false

const server = createServer((request, response) => {
  answer(request, response).catch(() => {
    if (response.headersSent) response.destroy()
    else send(response, 500, { error: 'internal error' })
  })
})
// Longer than any load balancer keeps an idle connection: it closes first, so no request meets a closed one.
server.keepAliveTimeout = 120_000
server.headersTimeout = 125_000

async function answer(request, response) {
  const { pathname } = new URL(request.url ?? '/', 'http://hello')
  switch (`${request.method} ${pathname}`) {
    case 'GET /ready':
      return send(response, stopping ? 503 : 200, { ready: !stopping })
    case 'GET /':
      return send(response, 200, { message, version, instance: hostname(), up: ms(process.uptime() * 1000) })
    case 'POST /work':
      return work(request, response)
    default:
      return send(response, 404, { error: 'no such page' })
  }
}

/** Takes its time, then says which request it was and who did it. */
async function work(request, response) {
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > maxBodyBytes) return send(response, 413, { error: 'too much' }, true)
  }
  await wait(workMs)
  send(response, 200, { id: request.headers['x-request-id'] ?? null, instance: hostname(), message })
}

function send(response, status, body, last = stopping) {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(last ? { connection: 'close' } : {}),
  })
  response.end(text)
}

/** Takes no new connections, finishes what is in flight, and ends. */
function stop() {
  stopping = true
  server.close(() => process.exit(0))
}

process.on('SIGTERM', stop)
process.on('SIGINT', stop)
server.listen(port, '0.0.0.0', () => {
  process.stdout.write(`hello ${version} listens on ${port}: ${message}\n`)
})
