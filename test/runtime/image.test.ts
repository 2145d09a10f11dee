import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createDocker } from '../../src/docker/client.ts'
import { parseDigest } from '../../src/domain/digest.ts'
import { pullFrom } from '../../src/runtime/image.ts'
import { codeOf } from './host-at-hand.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** No engine is there: what is refused here was refused before the engine was asked for anything. */
const docker = createDocker({ socketPath: '/nonexistent/docker.sock' })
const manifest = JSON.stringify({
  schemaVersion: 2,
  config: { digest: `sha256:${'c'.repeat(64)}` },
})
const digest = parseDigest(`sha256:${createHash('sha256').update(manifest).digest('hex')}`)

async function pulled(status: number, body: string): Promise<string> {
  const server = createServer((_request, response) => {
    response.writeHead(status, { location: 'http://127.0.0.1:1/' }).end(body)
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const pull = pullFrom(docker, { address, auth: { username: 'host', password: 'x' } })
  return codeOf(pull({ app: 'hello', digest, signal: new AbortController().signal }))
}

test('only the bytes that have the digest are believed', async () => {
  expect(await pulled(200, manifest)).toBe('docker_unavailable')
  expect(await pulled(200, `${manifest} `)).toBe('digest_mismatch')
})

test('a registry that refuses is no outage; one that fails or is gone is', async () => {
  expect(await pulled(403, '')).toBe('refused')
  expect(await pulled(404, '')).toBe('refused')
  expect(await pulled(502, '')).toBe('registry_unavailable')
  expect(await pulled(302, manifest)).toBe('registry_unavailable')
  const pull = pullFrom(docker, { address: '127.0.0.1:1', auth: { username: 'a', password: 'b' } })
  const request = { app: 'hello', digest, signal: new AbortController().signal }
  expect(await codeOf(pull(request))).toBe('registry_unavailable')
})
