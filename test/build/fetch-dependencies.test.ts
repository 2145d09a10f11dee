import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import type { CheckedTemplate } from '../../src/domain/template.ts'
import { openBlob } from '../../src/oci/read-image.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import { checkTemplate } from '../../src/template/check-template.ts'
import type { BuildRoom } from '../helpers/build-room.ts'
import { buildRoom, machineNpm, putContext } from '../helpers/build-room.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { collect, samplesOf } from '../helpers/tar.ts'
import { testTemplates } from '../helpers/templates.ts'

const hello = join(import.meta.dirname, '..', '..', 'examples', 'hello')
const read = (name: string) => readFileSync(join(hello, name), 'utf8')
const files = () => ({
  'package.json': read('package.json'),
  'package-lock.json': read('package-lock.json'),
  'server.js': 'never seen by npm',
})

let room: BuildRoom
let template: CheckedTemplate
let npm: ReturnType<typeof machineNpm>

beforeAll(async () => {
  const templates = await testTemplates()
  template = await checkTemplate(templates.room, 'node-service')
  npm = machineNpm()
  room = await buildRoom({ store: withoutCache(templates.store), change: { npm } })
}, 600_000)

afterAll(() => room.close())

/** The shared store, but for what earlier runs fetched. */
function withoutCache(store: BlobStore): BlobStore {
  const own = new Map<string, Uint8Array>()
  return {
    ...store,
    async get(key) {
      return key.startsWith('cache/') ? own.get(key) : store.get(key)
    },
    async put(key, bytes) {
      if (key.startsWith('cache/')) own.set(key, bytes)
      else await store.put(key, bytes)
    },
  }
}

async function fetch(sources: Record<string, string>, at = room): Promise<Digest | null> {
  const context = await putContext(at, sources)
  const build = `build:${crypto.randomUUID()}`
  return (await at.activities.fetchDependencies({ build, context, template })).dependencies
}

/** Of this room alone: others use the engine too. */
async function containersOf(): Promise<number> {
  const filters = JSON.stringify({ label: [`kiln.builder=${room.deps.builder}`] })
  return (await room.docker.listContainers({ all: true, filters })).length
}

test('the same lock files always give the same blob, fetched once, and nothing of this machine', async () => {
  const first = await fetch(files())
  expect(first).not.toBeNull()
  if (first === null) return
  const packed = await samplesOf(await collect(await openBlob(room.store, first)))
  expect(packed.map(({ name }) => name)).toContain('node_modules/ms/index.js')
  expect(packed.map(({ name }) => name)).not.toContain('node_modules/.package-lock.json')
  expect(
    packed.every(
      ({ uid, gid, mode }) => uid === 0 && gid === 0 && [0o644, 0o755, 0o777].includes(mode),
    ),
  ).toBe(true)
  const everything = packed.map(({ content }) => content).join('') + room.lines.join('')
  expect(everything).not.toContain(new URL(npm.registry).host)
  expect(everything).not.toContain('never seen by npm')
  expect(await fetch(files())).toBe(first)
  expect(room.lines.at(-1)).toContain('were fetched before')
  const afresh = await buildRoom({ store: withoutCache(room.store), change: { npm } })
  expect(await fetch(files(), afresh)).toBe(first)
  await afresh.close()
})

test('a package that is not what the lock says is refused, and the lock named', async () => {
  const lock = read('package-lock.json').replace(/sha512-....../, 'sha512-AAAAAA')
  await expect(fetch({ ...files(), 'package-lock.json': lock })).rejects.toMatchObject({
    code: 'lock_mismatch',
    place: 'package-lock.json',
  })
})

test('a package.json that the lock does not cover is refused', async () => {
  const manifest = read('package.json').replace('"ms": "2.1.3"', '"ms": "2.1.2"')
  await expect(fetch({ ...files(), 'package.json': manifest })).rejects.toMatchObject({
    code: 'lock_mismatch',
    fix: expect.stringContaining('--package-lock-only') as string,
    lines: [expect.stringContaining("lock file's ms@2.1.3 does not satisfy ms@2.1.2")],
  })
})

test('without dependencies there is an empty folder and no error', async () => {
  const manifest = JSON.stringify({ name: 'none', version: '1.0.0' })
  const lock = {
    name: 'none',
    version: '1.0.0',
    lockfileVersion: 3,
    packages: { '': { name: 'none', version: '1.0.0' } },
  }
  const digest = await fetch({
    'package.json': manifest,
    'package-lock.json': JSON.stringify(lock),
  })
  expect(digest).not.toBeNull()
})

test.each([
  ['no lock', { 'package.json': '{}' }, { code: 'lock_missing', place: 'package-lock.json' }],
  [
    'no package.json',
    { 'package-lock.json': '{}' },
    { code: 'lock_missing', place: 'package.json' },
  ],
  [
    'an .npmrc',
    { '.npmrc': 'ignore-scripts=false', 'package.json': '{}' },
    { code: 'invalid_input', place: 'entry .npmrc' },
  ],
])('a source with %s is refused before anything runs', async (_what, sources, failure) => {
  const containers = await containersOf()
  await expect(fetch(sources as unknown as Record<string, string>)).rejects.toMatchObject(failure)
  expect(await containersOf()).toBe(containers)
})

test('npm that takes too long is ended, and its container is gone', async () => {
  const mine = await buildRoom({
    store: withoutCache(room.store),
    change: {
      npm: { registry: 'http://192.0.2.1:1/', caFile: null },
      limits: { ...room.deps.limits, fetchTimeoutMs: 4000 },
    },
  })
  await expect(fetch(files(), mine)).rejects.toMatchObject({
    code: 'fetch_failed',
    message: 'npm took too long',
  })
  await mine.close()
})

test('a template without dependencies fetches nothing', async () => {
  const store = openFolderStore({ root: scratch() })
  const mine = await buildRoom({ store })
  const context = await putContext(mine, { a: '1' })
  const none: CheckedTemplate = { ...template, dependencies: 'none' }
  expect(
    await mine.activities.fetchDependencies({ build: 'build:x', context, template: none }),
  ).toEqual({ dependencies: null })
  await mine.close()
})
