import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from 'vitest'

const server = fileURLToPath(new URL('../../examples/hello/server.js', import.meta.url))
const running: ChildProcess[] = []

afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})

/** Starts the example on a free port, as an instance does. */
async function start(port: number, workTime: string): Promise<ChildProcess> {
  const env = { PATH: process.env['PATH'] ?? '', PORT: String(port), WORK_TIME: workTime }
  const child = spawn(process.execPath, [server], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  running.push(child)
  await once(child.stdout, 'data')
  return child
}

function work(port: number, { id, agent }: { id: string; agent: Agent }) {
  return new Promise<{ status: number; body: string; connection: string }>((resolve, reject) => {
    const headers = { 'x-request-id': id, 'content-length': 2 }
    const options = { host: '127.0.0.1', port, agent, headers, path: '/work', method: 'POST' }
    const call = request(options, (answer) => {
      let body = ''
      answer.on('data', (chunk: Buffer) => (body += chunk.toString()))
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          body,
          connection: answer.headers.connection ?? '',
        }),
      )
    })
    call.on('error', reject)
    call.end('hi')
  })
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net')
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

test('the example answers, keeps connections, and finishes what is in flight when it is told to stop', async () => {
  const port = await freePort()
  const child = await start(port, '400ms')
  const agent = new Agent({ keepAlive: true })
  expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200)
  const page = (await (await fetch(`http://127.0.0.1:${port}/`)).json()) as { message: string }
  expect(page.message).toBe('Hello from the first commit')
  const first = await work(port, { id: '1', agent })
  expect(first).toMatchObject({ status: 200, connection: 'keep-alive' })
  expect(JSON.parse(first.body)).toMatchObject({ id: '1' })

  const inFlight = work(port, { id: '2', agent })
  // Answered on another connection, so the one in flight has arrived before it.
  await fetch(`http://127.0.0.1:${port}/ready`)
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await inFlight).toMatchObject({ status: 200, connection: 'close' })
  expect(await ended).toEqual([0, null])
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed')
  agent.destroy()
})
