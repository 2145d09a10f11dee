import { createServer, connect, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDocker } from '../../src/docker/client.ts'
import type { Drift } from '../../src/domain/request.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import { watched } from './watch-at-hand.ts'
import {
  codeOf,
  containersOf,
  docker,
  environment,
  hostAtHand,
  startOf,
  until,
  type HostAtHand,
} from './host-at-hand.ts'

let host: HostAtHand
let folder: string
let engine: Outage

beforeAll(async () => {
  folder = await mkdtemp('/tmp/kiln-outage-')
  host = await hostAtHand({ docker: createDocker({ socketPath: join(folder, 'docker.sock') }) })
}, 60_000)
beforeEach(async () => {
  engine = await reachable(join(folder, 'docker.sock'))
})
afterEach(async () => {
  await engine.goAway()
  await removeEnvironment({ docker, naming: host.naming }, environment)
})
afterAll(async () => {
  await host.close()
  await rm(folder, { recursive: true, force: true })
})

type Outage = { goAway: () => Promise<void> }

/** The real engine behind a socket of our own, that can go away without stopping anything. */
async function reachable(path: string): Promise<Outage> {
  await rm(path, { force: true })
  const open = new Set<Socket>()
  const server: Server = createServer((client) => {
    const upstream = connect('/var/run/docker.sock')
    for (const socket of [client, upstream]) {
      open.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => open.delete(socket))
    }
    client.pipe(upstream).pipe(client)
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    async goAway() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

test('without an engine a start is an outage that may be tried again, and then succeeds', async () => {
  const digest = await host.artifact({ VERSION: 'patient' })
  const request = startOf(1, { digest, definition: host.define(), count: 1 })
  await engine.goAway()
  expect(await codeOf(host.activities.startInstances(request))).toBe('docker_unavailable')
  expect(await codeOf(host.activities.observe({ environment }))).toBe('docker_unavailable')
  engine = await reachable(join(folder, 'docker.sock'))
  const { instances } = await host.activities.startInstances(request)
  await host.activities.waitReady({ ...request, instances })
  expect(await containersOf(host)).toEqual(instances.map((one) => one.name))
})

test(
  'what happens while the engine cannot be heard is found when it is back',
  { timeout: 25_000 },
  async () => {
    const digest = await host.artifact({ VERSION: 'unheard' })
    const request = startOf(2, { digest, definition: host.define(), count: 1 })
    const { instances } = await host.activities.startInstances(request)
    const drifts: Drift[] = []
    const ending = new AbortController()
    const watching = watched(
      host,
      {
        instances: () => instances.map(({ name, id }) => ({ name, id, digest })),
        onDrift: async (found) => void drifts.push(...found),
      },
      ending.signal,
    )
    await engine.goAway()
    await docker.getContainer(instances[0]?.id ?? '').remove({ force: true })
    engine = await reachable(join(folder, 'docker.sock'))
    await until(() => drifts.length > 0)
    ending.abort()
    await watching
    expect(drifts.map((drift) => [drift.instance, drift.cause])).toEqual([
      [instances[0]?.name, 'removed'],
    ])
  },
)
