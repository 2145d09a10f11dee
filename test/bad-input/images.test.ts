import { createHash } from 'node:crypto'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { parseDigest } from '../../src/domain/digest.ts'
import type { ErrorCode } from '../../src/domain/error.ts'
import { mergeLayer } from '../../src/oci/merge.ts'
import { openLayer, parseImage } from '../../src/oci/read-image.ts'
import type { Tree } from '../../src/oci/tree.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { endOfTar, sample, tarOf, type Sample } from '../helpers/tar.ts'
import { noDigest, registryAtHand } from '../registry/registry-at-hand.ts'
import { workerAtHand } from './worker-log.ts'

/** Number 40 of the catalogue in docs/bad-input.md: what an engine pushes, and what a build then reads of it. */
const digestOf = (bytes: string | Uint8Array) =>
  parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const indexType = 'application/vnd.oci.image.index.v1+json'
const layerType = 'application/vnd.oci.image.layer.v1.tar'
const described = (bytes: string | Uint8Array, mediaType = layerType) => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
})

let lines: Record<string, unknown>[] = []
let hand: Awaited<ReturnType<typeof registryAtHand>>
beforeAll(async () => {
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>)
  hand = await registryAtHand({ logger: pino({ level: 'info' }, { write }) })
  lines = []
  for (const text of ['{}', 'layer']) {
    await hand.store.putBlob(oneChunk(Buffer.from(text)))
  }
})
beforeEach(() => {
  lines = []
})
afterAll(() => hand.close())

const config = described('{}', 'application/vnd.oci.image.config.v1+json')
const layer = described('layer')
const good = { schemaVersion: 2, mediaType: manifestType, config, layers: [layer] }
const push = (body: string, reference = 't') =>
  hand.ask(`/v2/x/manifests/${reference}`, { who: 'build', method: 'PUT', body })
const changed = (change: object) => JSON.stringify({ ...good, ...change })

const pushed: [what: string, code: string, body: string, reference?: string][] = [
  [
    'an index',
    'MANIFEST_INVALID',
    JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests: [] }),
  ],
  ['an image that calls itself an index', 'MANIFEST_INVALID', changed({ mediaType: indexType })],
  [
    'an index that calls itself an image',
    'MANIFEST_INVALID',
    JSON.stringify({ schemaVersion: 2, mediaType: manifestType, manifests: [layer] }),
  ],
  ['an image and an index in one', 'MANIFEST_INVALID', changed({ manifests: [layer] })],
  ['an image and a schema 1 in one', 'MANIFEST_INVALID', changed({ fsLayers: [] })],
  ['no media type', 'MANIFEST_INVALID', changed({ mediaType: undefined })],
  ['schema 1', 'MANIFEST_INVALID', changed({ schemaVersion: 1 })],
  [
    'a config of another algorithm',
    'MANIFEST_INVALID',
    changed({ config: { ...config, digest: `sha512:${'a'.repeat(128)}` } }),
  ],
  [
    'a config that is not there',
    'MANIFEST_BLOB_UNKNOWN',
    changed({ config: { ...config, digest: noDigest } }),
  ],
  [
    'a lie about the size of a config',
    'MANIFEST_BLOB_UNKNOWN',
    changed({ config: { ...config, size: 3 } }),
  ],
  [
    'a lie about the size of a layer',
    'MANIFEST_BLOB_UNKNOWN',
    changed({ layers: [{ ...layer, size: 4 }] }),
  ],
  ['a negative size', 'MANIFEST_INVALID', changed({ layers: [{ ...layer, size: -1 }] })],
  [
    'a size of 2^53 + 1',
    'MANIFEST_INVALID',
    changed({ layers: [{ ...layer, size: 2 ** 53 + 2 }] }),
  ],
  [
    'a foreign layer',
    'MANIFEST_INVALID',
    changed({ layers: [{ ...layer, digest: noDigest, urls: ['https://169.254.169.254/x'] }] }),
  ],
  [
    'a foreign layer that is there',
    'MANIFEST_INVALID',
    changed({ layers: [{ ...layer, urls: ['file:///etc/passwd'] }] }),
  ],
  [
    '1,000 layers',
    'MANIFEST_INVALID',
    changed({ layers: Array.from({ length: 1000 }, () => layer) }),
  ],
  ['annotations of 10 MB', 'SIZE_INVALID', changed({ annotations: { a: 'x'.repeat(10_000_000) } })],
  ['an annotation that is no text', 'MANIFEST_INVALID', changed({ annotations: { a: 1 } })],
  ['another digest than the one it is pushed under', 'DIGEST_INVALID', changed({}), noDigest],
  ['half a document', 'MANIFEST_INVALID', changed({}).slice(0, -1)],
  ['nothing', 'MANIFEST_INVALID', ' '],
  ['a list', 'MANIFEST_INVALID', '[]'],
  [
    'a depth of 100,000',
    'MANIFEST_INVALID',
    `{"layers":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  ],
]

test.each(pushed)('40 %s is not taken', async (...[, code, body, reference = 't']) => {
  const answer = await push(body, reference)
  const told = (await answer.json()) as { errors: [{ code: string; message: string }] }
  expect(told.errors).toHaveLength(1)
  expect(told.errors[0].code).toBe(code)
  expect(lines).toEqual([
    expect.objectContaining({
      code,
      status: answer.status,
      place: `PUT /v2/x/manifests/${reference}`,
      msg: told.errors[0].message,
    }),
  ])
  expect(hand.capture.take({ name: 'x', reference })).toBeUndefined()
})

test('40 all of it at once: a good image is pushed and taken all the while', async () => {
  const bad = pushed.map(([, , body, reference]) => push(body, reference))
  for (let round = 0; round < 10; round += 1) {
    expect((await push(JSON.stringify(good), 'good')).status).toBe(201)
    const taken = hand.capture.take({ name: 'x', reference: 'good' })
    expect(taken?.digest).toBe(digestOf(JSON.stringify(good)))
  }
  for (const answer of await Promise.all(bad)) expect(answer.status).toBeGreaterThanOrEqual(400)
})

type Made = {
  layer?: Uint8Array
  diffId?: string
  config?: object
  manifest?: object
  tamper?: true
}

/** What a build does with an image: manifest, config, each layer, one tree. */
async function read({ layer: bytes = endOfTar, diffId, config: more, manifest, tamper }: Made) {
  const { store, objects } = memoryStore()
  const rootfs = { type: 'layers', diff_ids: [diffId ?? digestOf(bytes)] }
  const text = JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs, ...more })
  await store.putBlob(oneChunk(bytes))
  const { digest: at } = await store.putBlob(oneChunk(Buffer.from(text)))
  if (tamper) {
    for (const [key, one] of objects) objects.set(key, Buffer.from(one).fill('x', 0, 1))
  }
  const layers = [described(bytes)]
  const whole = { ...good, config: { ...config, digest: at }, layers, ...manifest }
  const image = await parseImage(store, Buffer.from(JSON.stringify(whole)))
  const digest = digestOf('')
  const take = async () => ({ size: 0, digest, content: null })
  let tree: Tree = new Map()
  for (const [n, one] of image.layers.entries()) {
    const opened = openLayer(store, { digest: one.digest, diffId: image.diffIds[n] ?? one.digest })
    tree = await mergeLayer(tree, opened, { take })
  }
  return tree
}

const entries = async (...all: Sample[]) => ({ layer: await tarOf(all) })
const gone = (name: string) => entries(sample('a/b'), sample(name))

const images: [what: string, code: ErrorCode, reason: string, made: () => Made | Promise<Made>][] =
  [
    [
      'an index for an image',
      'invalid_image',
      'manifest',
      () => ({ manifest: { mediaType: indexType } }),
    ],
    [
      'an image and an index in one',
      'invalid_image',
      'manifest',
      () => ({ manifest: { manifests: [] } }),
    ],
    [
      'a foreign layer',
      'invalid_image',
      'manifest',
      () => ({ manifest: { layers: [{ ...layer, urls: ['https://example.org'] }] } }),
    ],
    [
      '1,000 layers',
      'invalid_image',
      'manifest',
      () => ({ manifest: { layers: Array.from({ length: 1000 }, () => layer) } }),
    ],
    [
      'a config that is not there',
      'not_found',
      'has no',
      () => ({ manifest: { config: { ...config, digest: noDigest } } }),
    ],
    ['a config that is another', 'digest_mismatch', 'other bytes', () => ({ tamper: true })],
    [
      'a config for another system',
      'invalid_image',
      'config',
      () => ({ config: { os: 'windows' } }),
    ],
    [
      'a config of more layers',
      'invalid_image',
      'different layers',
      () => ({ config: { rootfs: { type: 'layers', diff_ids: [] } } }),
    ],
    ['a layer that is another', 'digest_mismatch', 'does not hold', () => ({ diffId: noDigest })],
    [
      'a layer whose zip is broken',
      'invalid_image',
      'compression',
      () => ({ layer: gzipSync(endOfTar).fill(7, 12, 16) }),
    ],
    [
      'bytes behind a zipped layer',
      'invalid_image',
      'compression',
      () => ({ layer: Buffer.concat([gzipSync(endOfTar), Buffer.from('x')]) }),
    ],
    [
      'two zipped archives',
      'invalid_archive',
      'after its end',
      () => ({ layer: Buffer.concat([gzipSync(endOfTar), gzipSync('x')]) }),
    ],
    [
      'a layer in zstd',
      'invalid_archive',
      'refused',
      () => ({ layer: zstdCompressSync(Buffer.alloc(1024 ** 2)) }),
    ],
    ['a deletion of the folder above', 'invalid_image', 'deletion', () => gone('a/.wh...')],
    ['a deletion of its own folder', 'invalid_image', 'deletion', () => gone('a/.wh..')],
    ['a deletion of nothing', 'invalid_image', 'deletion', () => gone('a/.wh.')],
    ['a deletion out of the root', 'invalid_image', 'straight down', () => gone('../.wh.etc')],
    ['a deletion by an absolute name', 'invalid_image', 'straight down', () => gone('/.wh.etc')],
    [
      'a hard link out',
      'invalid_image',
      'straight down',
      () => entries(sample('h', { type: 'link', linkname: '../../etc/passwd' })),
    ],
    [
      'a file through a link',
      'invalid_image',
      'no folder',
      () => entries(sample('l', { type: 'symlink', linkname: '/etc' }), sample('l/passwd')),
    ],
    [
      'a file for a folder that it fills',
      'invalid_image',
      'same layer fills',
      () => entries(sample('a/b'), sample('a')),
    ],
  ]

test.each(images)('40 %s is not read', async (...[, code, reason, made]) => {
  const worker = workerAtHand()
  await worker.refused(code, reason, async () => read(await made()))
  expect(worker.lines).toHaveLength(1)
})

test('40 what the images are made from is read', async () => {
  expect((await read(await entries(sample('a/b'), sample('c')))).size).toBe(3)
})
