import { createServer } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { buildWithEngine } from '../../src/docker/build.ts'
import type { DockerClient } from '../../src/docker/client.ts'
import { createDocker, engineVersion } from '../../src/docker/client.ts'
import { engineEvents } from '../../src/docker/events.ts'
import { pullByDigest, pushImage } from '../../src/docker/images.ts'
import { jsonLines } from '../../src/docker/json-lines.ts'
import { parseDigest } from '../../src/domain/digest.ts'
import { chunked } from '../helpers/tar.ts'
import { scratch } from '../helpers/store-scratch.ts'

const digest = parseDigest(`sha256:${'a'.repeat(64)}`)

/** Something at a socket that answers every call with these bytes, and a status. */
async function answering(body: string, status = 200): Promise<DockerClient> {
  const socketPath = join(scratch(), 'engine.sock')
  const server = createServer((request, response) => {
    request.resume()
    if (request.url?.includes('/json') === true) response.writeHead(404).end('{"message":"none"}')
    else response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  onTestFinished(() => void server.close())
  return createDocker({ socketPath })
}

async function build(docker: DockerClient, onText: (text: string) => void = () => undefined) {
  const signal = AbortSignal.timeout(10_000)
  const context = Readable.from([Buffer.alloc(1024)])
  return buildWithEngine(docker, { context, options: {}, signal, silenceMs: 5000, onText })
}

test('the engine says who it is', async () => {
  const found = await engineVersion(createDocker({ socketPath: '/var/run/docker.sock' }))
  expect(found.architecture).toMatch(/^(amd64|arm64)$/)
})

test('where nobody answers, every call is an outage that may be tried again', async () => {
  const docker = createDocker({ socketPath: join(scratch(), 'none.sock') })
  const signal = AbortSignal.timeout(5000)
  const outage = { code: 'docker_unavailable', retryable: true }
  await expect(engineVersion(docker)).rejects.toMatchObject(outage)
  await expect(build(docker)).rejects.toMatchObject(outage)
  await expect(pullByDigest(docker, { repository: 'a', digest })).rejects.toMatchObject(outage)
  await expect(engineEvents(docker, { filters: {}, signal }).next()).rejects.toMatchObject(outage)
})

test('an engine that is being stopped is an outage too; other refusals are not', async () => {
  const closing = await answering('{"message":"transport is closing: unavailable"}', 500)
  await expect(engineVersion(closing)).rejects.toMatchObject({ code: 'docker_unavailable' })
  const broken = await answering('{"message":"no space left on device"}', 500)
  await expect(engineVersion(broken)).rejects.toMatchObject({ code: 'internal' })
})

test('an engine without addresses for another network says where more come from', async () => {
  const message =
    'could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network'
  const full = await answering(JSON.stringify({ message }), 404)
  await expect(engineVersion(full)).rejects.toMatchObject({
    code: 'prerequisite_missing',
    fix: expect.stringContaining('docs/install.md#networks'),
    retryable: false,
  })
})

test('a build that fails inside a stream of status 200 is a failure', async () => {
  const failed =
    '{"stream":"Step 1"}\n{"errorDetail":{"message":"no such file"},"error":"no such file"}\n'
  await expect(build(await answering(failed))).rejects.toMatchObject({
    code: 'build_failed',
    message: 'no such file',
  })
})

test('a build that ends without an image is no success', async () => {
  await expect(build(await answering('{"stream":"Step 1"}\n'))).rejects.toMatchObject({
    code: 'docker_unavailable',
  })
})

test('a build that succeeds gives the image of its last word, and all that it said', async () => {
  const said: string[] = []
  const lines =
    '{"aux":{"ID":"sha256:one"}}\n{"stream":"gr\u00fc\u00dfe"}\n{"aux":{"ID":"sha256:two"}}'
  expect(await build(await answering(lines), (text) => said.push(text))).toBe('sha256:two')
  expect(said.join('')).toBe('gr\u00fc\u00dfe')
})

test('a push or pull that fails inside the stream is a failure, and one without a digest too', async () => {
  const auth = { username: 'u', password: 'p', serveraddress: 'r' }
  const options = { auth, signal: AbortSignal.timeout(5000) }
  const push = (docker: DockerClient) => pushImage(docker, { repository: 'r/a', tag: 't' }, options)
  const failed = '{"status":"Preparing"}\n{"errorDetail":{"message":"denied"},"error":"denied"}\n'
  await expect(push(await answering(failed))).rejects.toThrow('denied')
  await expect(push(await answering('{"status":"done"}\n'))).rejects.toThrow('without a digest')
  expect(await push(await answering(`{"aux":{"Tag":"t","Digest":"${digest}"}}\n`))).toBe(digest)
  await expect(
    pullByDigest(await answering(failed), { repository: 'r/a', digest }),
  ).rejects.toMatchObject({ code: 'registry_unavailable' })
})

async function read(text: string): Promise<unknown[]> {
  const values: unknown[] = []
  for await (const value of jsonLines(chunked(Buffer.from(text), 1))) values.push(value)
  return values
}

test('JSON lines survive chunks that cut characters, and broken ones are refused', async () => {
  expect(await read('{"a":"\u{1f525}"}\n\r\n[1]')).toEqual([{ a: '\u{1f525}' }, [1]])
  await expect(read('{"a":\n')).rejects.toMatchObject({ code: 'internal' })
})

test('events come until the signal says stop', async () => {
  const docker = createDocker({ socketPath: '/var/run/docker.sock' })
  const stop = new AbortController()
  const name = `kiln-test-${crypto.randomUUID()}`
  const filters = { type: ['volume'], volume: [name] }
  const events = engineEvents(docker, { filters, signal: stop.signal })
  const first = events.next()
  const volume = async () => {
    await docker.createVolume({ Name: name })
    await docker.getVolume(name).remove()
  }
  // The subscription says nothing when it stands, so the volume comes and goes until it is seen.
  await expect
    .poll(async () => {
      await volume()
      return Promise.race([first, Promise.resolve(undefined)])
    })
    .toBeDefined()
  expect((await first).value).toMatchObject({ type: 'volume', id: name })
  const next = (async () => {
    for await (const event of events) expect(event.id).toBe(name)
  })()
  stop.abort(new Error('enough'))
  await expect(next).rejects.toThrow('enough')
})
