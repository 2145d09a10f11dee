import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import { inspectActivities } from '../../src/inspect/activities.ts'
import { mediaTypes } from '../../src/oci/image.ts'
import { noXattrs, type TarEntry } from '../../src/oci/tar-entry.ts'
import { writeTar, type TarOutput } from '../../src/oci/tar-writer.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'

let root: string
let store: ReturnType<typeof openFolderStore>

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'kiln-inspect-'))
  store = openFolderStore({ root })
})
afterEach(() => rm(root, { recursive: true, force: true }))

const source = {
  repository: 'https://example.org/hello',
  commit: 'a'.repeat(40),
  tree: 'b'.repeat(40),
  committedAt: 1767225600,
  subject: 'a commit',
}

function activities() {
  return inspectActivities({
    store,
    version: '0.1.0',
    activity: () => ({ signal: new AbortController().signal, heartbeat: () => undefined }),
  })
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}

function entry(name: string, part: Partial<TarEntry> = {}): TarEntry {
  return {
    type: 'file',
    name,
    linkname: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    device: { major: 0, minor: 0 },
    xattrs: noXattrs,
    ...part,
  }
}

function file(name: string, content: string): TarOutput {
  const bytes = Buffer.from(content)
  return { entry: entry(name, { size: bytes.length }), body: [bytes] }
}

const npm = (name: string, version: string, more = {}) =>
  file(`app/node_modules/${name}/package.json`, JSON.stringify({ name, version, ...more }))

async function image(...layers: TarOutput[][]): Promise<Digest> {
  const stored = []
  for (const layer of layers) stored.push(await store.putBlob(writeTar(layer)))
  const diffIds = stored.map(({ digest }) => digest)
  const config = {
    architecture: 'amd64',
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: diffIds },
  }
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: {
      mediaType: mediaTypes.config,
      ...(await store.putBlob(once(Buffer.from(JSON.stringify(config))))),
    },
    layers: stored.map((one) => ({ mediaType: mediaTypes.layer, ...one })),
  }
  const { digest } = await store.putBlob(once(Buffer.from(JSON.stringify(manifest))))
  return digest
}

type Document = {
  bomFormat: string
  specVersion: string
  serialNumber?: string
  metadata: { timestamp: string }
  components?: { purl: string; version?: string; licenses?: unknown; properties?: unknown }[]
}

async function documentOf(sbom: Digest): Promise<Document> {
  const bytes = await store.get(blobKey(sbom))
  return JSON.parse(Buffer.from(bytes ?? []).toString()) as Document
}

async function purlsOf(...layers: TarOutput[][]): Promise<string[]> {
  const { sbom } = await activities().makeSbom({ artifact: await image(...layers), source })
  return ((await documentOf(sbom)).components ?? []).map(({ purl }) => purl)
}

const release = file('usr/lib/os-release', 'ID=debian\nVERSION_CODENAME=bookworm\n')

test('the packages of a real Debian, a real Node and npm packages are found; again gives the same', async () => {
  const status = await readFile('/var/lib/dpkg/status', 'utf8')
  const node = { size: (await stat(process.execPath)).size, mode: 0o755 }
  const base = [
    release,
    {
      entry: entry('usr/local/bin/node', node),
      body: createReadStream(process.execPath) as AsyncIterable<Uint8Array>,
    },
    file('var/lib/dpkg/status', status),
  ]
  const app = [
    npm('ms', '2.1.3', { license: 'MIT' }),
    npm('@scope/inner', '1.0.0-rc.1', { license: 'see LICENSE' }),
    file('app/package.json', '{"name":"hello","version":"1.0.0"}'),
  ]
  const artifact = await image(base, app)
  const first = await activities().makeSbom({ artifact, source })
  const again = await activities().makeSbom({ artifact, source })
  expect(again).toEqual(first)

  const document = await documentOf(first.sbom)
  expect(document).toMatchObject({
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    metadata: { timestamp: '2026-01-01T00:00:00.000Z', component: { name: artifact } },
  })
  expect(document.serialNumber).toBeUndefined()
  const found = new Map((document.components ?? []).map((one) => [one.purl, one]))
  expect(found.size).toBe(first.components)
  const installed = status.split('\n').filter((line) => line === 'Status: install ok installed')
  const debian = [...found.keys()].filter((purl) => purl.startsWith('pkg:deb/debian/'))
  expect(debian).toHaveLength(installed.length)
  expect(
    debian.some((purl) => /^pkg:deb\/debian\/libc6@.*\?arch=amd64&distro=bookworm$/.test(purl)),
  ).toBe(true)
  const libc = [...found].find(([purl]) => purl.startsWith('pkg:deb/debian/libc6@'))
  expect(libc?.[1].properties).toEqual([{ name: 'kiln:debian:source', value: 'glibc' }])
  expect(found.get('pkg:npm/ms@2.1.3')?.licenses).toEqual([{ license: { id: 'MIT' } }])
  expect(found.get('pkg:npm/%40scope/inner@1.0.0-rc.1')?.licenses).toEqual([
    { license: { name: 'see LICENSE' } },
  ])
  expect(found.has(`pkg:generic/node@${process.versions.node}`)).toBe(true)
  expect(found.has('pkg:npm/hello@1.0.0')).toBe(false)
})

test('the order of entries and layers kept from before change nothing', async () => {
  const layers = [npm('a', '1.0.0'), npm('b', '1.0.0'), npm('a/node_modules/b', '2.0.0')]
  const purls = await purlsOf([release], layers)
  expect(await purlsOf([release], layers.toReversed())).toEqual(purls)
  expect(await purlsOf([release], layers)).toEqual(purls)
})

test('what an upper layer deletes, empties or replaces is not inside', async () => {
  const base = [
    npm('a', '1.0.0'),
    npm('b', '1.0.0'),
    npm('c', '1.0.0'),
    npm('c/node_modules/d', '1.0.0'),
  ]
  const nothing = { entry: entry('etc/x') }
  expect(await purlsOf(base, [nothing])).toHaveLength(4)
  const removed = { entry: entry('app/node_modules/.wh.a') }
  expect(await purlsOf(base, [removed])).not.toContain('pkg:npm/a@1.0.0')
  const emptied = { entry: entry('app/node_modules/c/.wh..wh..opq') }
  expect(await purlsOf(base, [emptied])).toEqual(['pkg:npm/a@1.0.0', 'pkg:npm/b@1.0.0'])
  const whole = { entry: entry('.wh.app') }
  expect(await purlsOf(base, [whole, npm('z', '1.0.0')])).toEqual(['pkg:npm/z@1.0.0'])
  const link = { entry: entry('app/node_modules/c', { type: 'symlink', linkname: 'a' }) }
  expect(await purlsOf(base, [link])).toEqual(['pkg:npm/a@1.0.0', 'pkg:npm/b@1.0.0'])
  expect(await purlsOf(base, [npm('b', '2.0.0')])).toContain('pkg:npm/b@2.0.0')
  expect(await purlsOf(base, [npm('b', '2.0.0')])).not.toContain('pkg:npm/b@1.0.0')
})

test('packages that cannot be read are inside all the same', async () => {
  const purls = await purlsOf([
    file('app/node_modules/broken/package.json', '{'),
    file('app/node_modules/odd/package.json', '{"name":["x"],"version":7}'),
    file('app/node_modules/evil/package.json', '{"name":"../x\\ny","version":"1 2"}'),
    file('app/node_modules/.cache/package.json', '{"name":"cache","version":"1.0.0"}'),
    npm('deep', '1.0.0'),
    {
      entry: entry('app/node_modules/linked/package.json', {
        type: 'link',
        linkname: 'app/node_modules/deep/package.json',
      }),
    },
    file('usr/bin/node', '#!/bin/sh\n'),
  ])
  expect(purls).toEqual([
    'pkg:generic/node',
    'pkg:npm/broken',
    'pkg:npm/deep@1.0.0',
    'pkg:npm/evil',
    'pkg:npm/odd',
  ])
})

test('packages that dpkg only remembers are not inside', async () => {
  const status = `Package: a
Status: install ok installed
Version: 1:2.0+b~1
Architecture: all
Description: x
 Package: hidden

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: amd64
`
  expect(await purlsOf([release, file('var/lib/dpkg/status', status)])).toEqual([
    'pkg:deb/debian/a@1:2.0+b~1?arch=all&distro=bookworm',
  ])
})

test('an artifact that is not there, or not what its digest says, is refused', async () => {
  const artifact = await image([npm('a', '1.0.0')])
  const absent = artifact.replace(/.$/, (last) => (last === '0' ? '1' : '0')) as Digest
  await expect(activities().makeSbom({ artifact: absent, source })).rejects.toMatchObject({
    code: 'not_found',
  })
})
