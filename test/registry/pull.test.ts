import { connect } from 'node:net'
import { once as event } from 'node:events'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hexOf, type Digest } from '../../src/domain/digest.ts'
import { collectedKey } from '../../src/store/collected.ts'
import { attachReferrer, publishManifest } from '../../src/registry/publish.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { basic, noDigest, once, publishImage, registryAtHand } from './registry-at-hand.ts'

type Hand = Awaited<ReturnType<typeof registryAtHand>>
let hand: Hand

beforeAll(async () => {
  hand = await registryAtHand()
})
afterAll(() => hand.close())

async function codeOf(answer: Response): Promise<string> {
  const body = (await answer.json()) as { errors: [{ code: string }] }
  return `${answer.status} ${body.errors[0].code}`
}

test('without credentials, or with wrong ones, nothing is told', async () => {
  const wrong = `Basic ${Buffer.from('reader:wrong').toString('base64')}`
  const swapped = `Basic ${Buffer.from('host:reader-password').toString('base64')}`
  for (const authorization of ['', 'Basic', 'Basic !!!', wrong, swapped, 'Bearer', 'Digest x']) {
    const answer = await hand.ask('/v2/', { who: null, headers: { authorization } })
    expect(answer.headers.get('www-authenticate')).toBe('Basic realm="kiln"')
    expect(await codeOf(answer)).toBe('401 UNAUTHORIZED')
  }
  const bearer = { authorization: 'Bearer reader-password' }
  expect((await hand.ask('/v2/', { who: null, headers: bearer })).status).toBe(200)
})

test('a manifest and its blobs are served by digest with the right headers', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: 'world' })
  for (const method of ['GET', 'HEAD']) {
    const answer = await hand.ask(`/v2/hello/manifests/${image.digest}`, { method })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/vnd.oci.image.manifest.v1+json')
    expect(answer.headers.get('docker-content-digest')).toBe(image.digest)
    expect(answer.headers.get('content-length')).toBe(String(image.size))
    const blob = await hand.ask(`/v2/hello/blobs/${image.layer}`, { method })
    expect(blob.headers.get('docker-content-digest')).toBe(image.layer)
    expect(blob.headers.get('content-length')).toBe('2048')
    expect((await blob.arrayBuffer()).byteLength).toBe(method === 'GET' ? 2048 : 0)
  }
})

test('a manifest is known only in the repositories that hold it, and never by tag', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: 'only here' })
  expect(await codeOf(await hand.ask(`/v2/other/manifests/${image.digest}`))).toBe(
    '404 MANIFEST_UNKNOWN',
  )
  expect(await codeOf(await hand.ask('/v2/hello/manifests/latest'))).toBe('404 MANIFEST_UNKNOWN')
  expect(await codeOf(await hand.ask(`/v2/hello/manifests/${image.layer}`))).toBe(
    '404 MANIFEST_UNKNOWN',
  )
  expect(await codeOf(await hand.ask(`/v2/hello/blobs/${noDigest}`))).toBe('404 BLOB_UNKNOWN')
})

test('what was collected is a 404 that says so, for as long as no repository has it', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  const path = `/v2/hello/manifests/${image.digest}`
  await hand.store.put(collectedKey(image.digest), Buffer.from('x'))
  expect((await hand.ask(path)).status).toBe(200)
  await hand.store.remove(`repositories/hello/${hexOf(image.digest)}`)
  const answer = await hand.ask(path)
  expect(answer.status).toBe(404)
  expect(await answer.json()).toEqual({
    errors: [
      {
        code: 'MANIFEST_UNKNOWN',
        message: `${image.digest} was collected; kiln rebuild makes it again`,
      },
    ],
  })
})

test('a reader gets a blob only of a repository that has a manifest with it', async () => {
  const image = await publishImage(hand.store, 'hello', { hello: `${Math.random()}` })
  const stray = await hand.store.putBlob(once(Buffer.from('named by no manifest')))
  expect((await hand.ask(`/v2/hello/blobs/${image.layer}`)).status).toBe(200)
  for (const path of [`/v2/other/blobs/${image.layer}`, `/v2/hello/blobs/${stray.digest}`]) {
    expect(await codeOf(await hand.ask(path))).toBe('404 BLOB_UNKNOWN')
  }
})

test.each<[string, number, string, string | null]>([
  ['bytes=0-3', 206, '0123', 'bytes 0-3/10'],
  ['bytes=7-', 206, '789', 'bytes 7-9/10'],
  ['bytes=-2', 206, '89', 'bytes 8-9/10'],
  ['bytes=5-500', 206, '56789', 'bytes 5-9/10'],
  ['bytes=9-2', 200, '0123456789', null],
  ['bytes=0-1,4-5', 200, '0123456789', null],
  ['lines=0-1', 200, '0123456789', null],
])('range %s', async (...row) => {
  const [range, status, content, contentRange] = row
  const { digest } = await hand.store.putBlob(once(Buffer.from('0123456789')))
  const answer = await hand.ask(`/v2/hello/blobs/${digest}`, { headers: { range }, who: 'build' })
  expect(answer.status).toBe(status)
  expect(answer.headers.get('content-range')).toBe(contentRange)
  expect(await answer.text()).toBe(content)
})

test('a range past the end is refused with the size', async () => {
  const { digest } = await hand.store.putBlob(once(Buffer.from('0123456789')))
  for (const range of ['bytes=10-', 'bytes=-0']) {
    const answer = await hand.ask(`/v2/hello/blobs/${digest}`, { headers: { range }, who: 'build' })
    expect(answer.headers.get('content-range')).toBe('bytes */10')
    expect(await codeOf(answer)).toBe('416 SIZE_INVALID')
  }
})

test.each([
  ['/v2/Hello/manifests/x', '400 NAME_INVALID'],
  ['/v2/a//b/manifests/x', '400 NAME_INVALID'],
  ['/v2/..%2f..%2fetc/manifests/x', '400 NAME_INVALID'],
  ['/v2/a/..%2f..%2fblobs%2fsha256/blobs/x', '400 NAME_INVALID'],
  [`/v2/${'a'.repeat(64)}/manifests/x`, '400 NAME_INVALID'],
  [`/v2/${'a/'.repeat(128)}a/manifests/x`, '400 NAME_INVALID'],
  ['/v2/-a/manifests/x', '400 NAME_INVALID'],
  ['/v2/a%00/manifests/x', '400 NAME_INVALID'],
  ['/v2/hello/blobs/sha256:ABC', '400 DIGEST_INVALID'],
  [`/v2/hello/blobs/sha256:${'A'.repeat(64)}`, '400 DIGEST_INVALID'],
  [`/v2/hello/blobs/sha512:${'a'.repeat(128)}`, '400 DIGEST_INVALID'],
  [`/v2/hello/manifests/sha256:${'a'.repeat(63)}`, '400 DIGEST_INVALID'],
  ['/v2/hello/manifests/.tag', '400 MANIFEST_INVALID'],
  ['/v2/Hello/tags/list', '400 NAME_INVALID'],
  ['/v2/_catalog', '404 UNSUPPORTED'],
])('%s is answered with %s', async (path, wanted) => {
  expect(await codeOf(await hand.ask(path))).toBe(wanted)
})

test('a path that climbs with dots reaches no file', async () => {
  for (const path of ['/v2/../blobs/sha256/x', '/v2/hello/../../../../etc/passwd']) {
    const socket = connect(hand.port, '127.0.0.1')
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: kiln\r\nAuthorization: ${basic('reader')}\r\nConnection: close\r\n\r\n`,
    )
    let text = ''
    socket.on('data', (chunk) => (text += chunk.toString()))
    await event(socket, 'close')
    expect(text).toMatch(/^HTTP\/1.1 4\d\d /)
  }
})

test('a host pulls an admissible manifest and exactly its content, and is refused all else', async () => {
  const mine = await publishImage(hand.store, 'app', { a: 'admissible' })
  const other = await publishImage(hand.store, 'app', { a: 'not admissible' })
  const bundle = await attachReferrer(hand.store, {
    repository: 'app',
    subject: mine,
    artifactType: 'application/x',
    mediaType: 'application/x',
    content: Buffer.from('bundle'),
  })
  hand.admissible.add(mine.digest)
  const status = async (path: string) => (await hand.ask(path, { who: 'host' })).status
  expect(await status('/v2/')).toBe(200)
  expect(await status(`/v2/app/manifests/${mine.digest}`)).toBe(200)
  expect(await status(`/v2/app/blobs/${mine.layer}`)).toBe(200)
  expect(await status(`/v2/app/blobs/${mine.config}`)).toBe(200)
  const refusal = await hand.ask(`/v2/app/manifests/${other.digest}`, { who: 'host' })
  expect(await codeOf(refusal)).toBe('403 DENIED')
  for (const path of [
    `/v2/app/blobs/${other.layer}`,
    `/v2/app/blobs/${other.config}`,
    `/v2/other/blobs/${mine.layer}`,
    `/v2/app/blobs/${mine.digest}`,
    `/v2/app/blobs/${noDigest}`,
    `/v2/app/manifests/${bundle.digest}`,
    `/v2/app/referrers/${mine.digest}`,
    '/v2/app/tags/list',
    `/v2/app/manifests/sha256-${hexOf(mine.digest)}`,
  ]) {
    expect([path, await status(path)]).toEqual([path, 403])
  }
  hand.admissible.delete(mine.digest)
  expect(await status(`/v2/app/manifests/${mine.digest}`)).toBe(403)
  expect(await status(`/v2/app/blobs/${mine.layer}`)).toBe(403)
})

test('referrers are listed by API and under the fallback tag, filtered by artifact type', async () => {
  const image = await publishImage(hand.store, 'attached', { a: '1' })
  const attach = (artifactType: string) =>
    attachReferrer(hand.store, {
      repository: 'attached',
      subject: image,
      artifactType,
      mediaType: artifactType,
      content: Buffer.from(artifactType),
      annotations: { b: '2', a: '1' },
    })
  const [first, again] = [await attach('text/one'), await attach('text/one')]
  const second = await attach('text/two')
  expect(again).toEqual(first)
  type Index = { manifests: { digest: string; artifactType: string }[] }
  const all = await hand.ask(`/v2/attached/referrers/${image.digest}`)
  expect(all.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json')
  const index = (await all.json()) as Index
  expect(index.manifests.map((one) => one.digest).toSorted()).toEqual(
    [first.digest, second.digest].toSorted(),
  )
  const one = await hand.ask(`/v2/attached/referrers/${image.digest}?artifactType=text%2Ftwo`)
  expect(one.headers.get('oci-filters-applied')).toBe('artifactType')
  expect((await one.json()) as Index).toMatchObject({
    manifests: [{ digest: second.digest, artifactType: 'text/two', annotations: { a: '1' } }],
  })
  const fallback = await hand.ask(`/v2/attached/manifests/sha256-${hexOf(image.digest)}`)
  expect(await fallback.json()).toEqual(index)
  const none = await hand.ask(`/v2/elsewhere/referrers/${image.digest}`)
  expect(await none.json()).toMatchObject({ manifests: [] })
  const manifest = await hand.ask(`/v2/attached/manifests/${first.digest}`)
  expect(await manifest.json()).toMatchObject({
    artifactType: 'text/one',
    config: { mediaType: 'application/vnd.oci.empty.v1+json', size: 2 },
    subject: { digest: image.digest, size: image.size },
  })
})

const publish = (value: unknown) =>
  publishManifest(hand.store, { repository: 'hello', manifest: Buffer.from(JSON.stringify(value)) })

test.each([
  ['broken', '{'],
  ['another, though a sound one', ''],
])(
  'a manifest that became %s in the store names nothing, and keeps nobody from the rest',
  async (...[, text]) => {
    const own = await registryAtHand()
    try {
      const [good, other, bad] = await Promise.all(
        ['good', 'other', 'bad'].map((name) => publishImage(own.store, 'app', { name })),
      )
      const elsewhere = await publishImage(own.store, 'elsewhere', { name: 'secret' })
      const inItsPlace = text === '' ? await own.store.get(blobKey(elsewhere.digest)) : text
      const file = join(own.root, blobKey(bad?.digest as Digest))
      await chmod(file, 0o600)
      await writeFile(file, inItsPlace ?? '')
      for (const image of [good, other]) {
        const answer = await own.ask(`/v2/app/blobs/${image?.layer}`)
        expect(answer.status).toBe(200)
        await answer.arrayBuffer()
      }
      for (const blob of [bad?.layer, elsewhere.layer])
        expect((await own.ask(`/v2/app/blobs/${blob}`)).status).toBe(404)
    } finally {
      await own.close()
    }
  },
)

test('a manifest whose content is not in the store is not published', async () => {
  const bad = { digest: noDigest, size: 3, mediaType: 'a' }
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: bad,
    layers: [],
  }
  await expect(publish(manifest)).rejects.toMatchObject({ code: 'invalid_image' })
  await expect(publish({ ...manifest, mediaType: 'index' })).rejects.toMatchObject({
    code: 'invalid_image',
    place: 'mediaType',
  })
  await expect(publish('x')).rejects.toMatchObject({ code: 'invalid_image' })
})

test('a registry without a capture takes no pushes, and readers and hosts push nowhere', async () => {
  const closed = await registryAtHand({ capture: false })
  const post = { method: 'POST' } as const
  const path = '/v2/a/blobs/uploads/'
  expect(await codeOf(await closed.ask(path, { ...post, who: 'build' }))).toBe('405 UNSUPPORTED')
  await closed.close()
  expect(await codeOf(await hand.ask(path, { ...post, who: 'host' }))).toBe('403 DENIED')
  expect(await codeOf(await hand.ask(path, { ...post, who: 'reader' }))).toBe('403 DENIED')
})
