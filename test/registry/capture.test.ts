import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseDigest } from '../../src/domain/digest.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { noDigest, registryAtHand } from './registry-at-hand.ts'

let hand: Awaited<ReturnType<typeof registryAtHand>>

beforeAll(async () => {
  hand = await registryAtHand({ limits: { maxBlobBytes: 1000, maxUploads: 2, maxManifests: 2 } })
})
afterAll(() => hand.close())

const digestOf = (text: string) =>
  parseDigest(`sha256:${createHash('sha256').update(text).digest('hex')}`)

const send = (method: string, path: string, body?: string | ReadableStream) =>
  hand.ask(path, {
    method,
    who: 'build',
    ...(body === undefined ? {} : { body, duplex: 'half' }),
  })

async function begin(): Promise<string> {
  const answer = await send('POST', '/v2/x/blobs/uploads/')
  expect(answer.status).toBe(202)
  return answer.headers.get('location') ?? ''
}

async function push(text: string) {
  const digest = digestOf(text)
  const answer = await send('POST', `/v2/x/blobs/uploads/?digest=${digest}`, text)
  expect(answer.status).toBe(201)
  return { digest, size: text.length, mediaType: 'application/x' }
}

test('a blob arrives in one request, in parts, and with its last part in the PUT', async () => {
  await push('monolithic')
  const at = await begin()
  expect((await send('PATCH', at, 'one ')).headers.get('range')).toBe('0-3')
  expect((await send('PATCH', at, 'two ')).status).toBe(202)
  expect((await send('PUT', `${at}?digest=${digestOf('one two three')}`, 'three')).status).toBe(201)
  for (const text of ['monolithic', 'one two three']) {
    expect(Buffer.from((await hand.store.get(blobKey(digestOf(text)))) ?? []).toString()).toBe(text)
  }
})

test('a mount is answered as an upload', async () => {
  const answer = await send('POST', `/v2/x/blobs/uploads/?mount=${noDigest}&from=y`)
  expect(answer.status).toBe(202)
  expect((await send('DELETE', answer.headers.get('location') ?? '')).status).toBe(204)
})

test('content that is not what its digest says is refused', async () => {
  const answer = await send('POST', `/v2/x/blobs/uploads/?digest=${noDigest}`, 'other')
  expect(answer.status).toBe(400)
  expect(await answer.json()).toMatchObject({ errors: [{ code: 'DIGEST_INVALID' }] })
  expect(await hand.store.size(blobKey(noDigest))).toBeUndefined()
})

test('an upload over the limit is refused, leaves nothing, and frees its place', async () => {
  for (let round = 0; round < 3; round++) {
    const at = await begin()
    expect((await send('PATCH', at, 'x'.repeat(1001))).status).toBe(413)
    expect((await send('PATCH', at, 'x')).status).toBe(404)
  }
  expect(await hand.store.size(blobKey(digestOf('x'.repeat(1001))))).toBeUndefined()
  const left = await readdir(join(hand.root, 'staging')).catch(() => [])
  expect(left).toEqual([])
})

test('an upload whose client goes away stores nothing and frees its place', async () => {
  const at = await begin()
  const abort = new AbortController()
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('half'))
      setImmediate(() => abort.abort())
    },
  })
  await expect(
    hand.ask(at, {
      method: 'PATCH',
      who: 'build',
      body,
      duplex: 'half',
      signal: abort.signal,
    }),
  ).rejects.toThrow(/abort/)
  await expect.poll(async () => (await send('DELETE', at)).status).toBe(404)
  expect(await hand.store.size(blobKey(digestOf('half')))).toBeUndefined()
})

test('more uploads at once than the limit are refused; idle ones give up their place', async () => {
  const sending: ReadableStreamDefaultController[] = []
  const bodyOf = (text: string) =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from(text))
        sending.push(controller)
      },
    })
  const idle = await begin()
  const busy = await begin()
  const first = send('PATCH', busy, bodyOf('1'))
  await expect.poll(async () => (await send('PATCH', idle, '')).status).toBe(202)
  const next = await begin()
  expect((await send('PATCH', idle, 'x')).status).toBe(404)
  const second = send('PATCH', next, bodyOf('2'))
  await expect
    .poll(async () => {
      const answer = await send('POST', '/v2/x/blobs/uploads/')
      return answer.status
    })
    .toBe(429)
  for (const one of sending) one.close()
  for (const answer of await Promise.allSettled([first, second])) {
    expect(answer.status).toBe('fulfilled')
  }
  for (const at of [busy, next]) await send('DELETE', at)
})

test('a manifest is taken once, and must have its content', async () => {
  const config = await push('{}')
  const manifest = (layers: unknown[]) =>
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config,
      layers,
    })
  const good = manifest([await push('layer')])
  const answer = await send('PUT', '/v2/x/manifests/t', good)
  expect(answer.status).toBe(201)
  expect(answer.headers.get('docker-content-digest')).toBe(digestOf(good))
  const taken = hand.capture.take({ name: 'x', reference: 't' })
  expect(taken?.digest).toBe(digestOf(good))
  expect(hand.capture.take({ name: 'x', reference: 't' })).toBeUndefined()

  const code = async (body: string, reference = 't') => {
    const refusal = await send('PUT', `/v2/x/manifests/${reference}`, body)
    return ((await refusal.json()) as { errors: [{ code: string }] }).errors[0].code
  }
  const missing = { digest: noDigest, size: 1, mediaType: 'a' }
  expect(await code(manifest([missing]))).toBe('MANIFEST_BLOB_UNKNOWN')
  expect(await code(manifest([{ ...config, size: 1 }]))).toBe('MANIFEST_BLOB_UNKNOWN')
  expect(await code('not json')).toBe('MANIFEST_INVALID')
  expect(await code('{"schemaVersion":1}')).toBe('MANIFEST_INVALID')
  expect(await code(good, noDigest)).toBe('DIGEST_INVALID')
  expect(await code('x'.repeat(5_000_000))).toBe('SIZE_INVALID')
  expect(hand.capture.take({ name: 'x', reference: 't' })).toBeUndefined()
})
