import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { readBaseTree } from '../../src/oci/base-tree.ts'
import { writeCanonicalLayer } from '../../src/oci/canonical-layer.ts'
import { isScratch, planLayer, settledTree } from '../../src/oci/changes.ts'
import {
  parseFilesManifest,
  treeOfRecords,
  writeFilesManifest,
} from '../../src/oci/files-manifest.ts'
import { intoSpool, mergeLayer } from '../../src/oci/merge.ts'
import { openLayer, readImage } from '../../src/oci/read-image.ts'
import { openSpool, type Spool } from '../../src/oci/spool.ts'
import type { Tree } from '../../src/oci/tree.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import { busyboxBase } from '../helpers/build-room.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { chunked, collect, sample, samplesOf, tarOf, type Sample } from '../helpers/tar.ts'

const time = 1_760_000_000

function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), 'kiln-layer-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function spooled(): Promise<Spool> {
  const spool = await openSpool(scratch())
  onTestFinished(() => spool.close())
  return spool
}

async function treeOf(spool: Spool, layers: readonly (readonly Sample[])[]): Promise<Tree> {
  let tree: Tree = new Map()
  for (const layer of layers) {
    tree = await mergeLayer(tree, chunked(await tarOf(layer)), { take: intoSpool(spool) })
  }
  return tree
}

async function layerBetween(
  base: readonly Sample[],
  ...layers: readonly (readonly Sample[])[]
): Promise<Sample[]> {
  const spool = await spooled()
  const before = await treeOf(spool, [base])
  let after = before
  for (const layer of layers) {
    after = await mergeLayer(after, chunked(await tarOf(layer)), { take: intoSpool(spool) })
  }
  const plan = planLayer(before, settledTree(before, after))
  return samplesOf(await collect(writeCanonicalLayer(plan, { spool, time })))
}

const dir = (name: string, mode = 0o755) => sample(`${name}/`, { type: 'directory', mode })
const gone = (name: string) => sample(name)
const names = (layer: readonly Sample[]) => layer.map(({ name }) => name)

const base = [
  dir('a'),
  dir('a/b'),
  sample('a/b/one', { content: '1' }),
  sample('a/b/two', { content: '2' }),
  dir('root', 0o700),
  dir('tmp', 0o1777),
  sample('x', { content: 'shared' }),
  sample('y', { type: 'link', linkname: 'x' }),
]

test('an opaque folder and a whiteout for each child give the same layer', async () => {
  const opaque = await layerBetween(base, [
    dir('a'),
    dir('a/b'),
    gone('a/b/.wh..wh..opq'),
    sample('a/b/new'),
  ])
  const each = await layerBetween(base, [
    dir('a'),
    dir('a/b'),
    sample('a/b/new'),
    gone('a/b/.wh.one'),
    gone('a/b/.wh.two'),
  ])
  expect(opaque).toEqual(each)
  expect(names(opaque)).toEqual(['a/', 'a/b/', 'a/b/.wh.one', 'a/b/.wh.two', 'a/b/new'])
})

test('only the topmost of what was deleted is named', async () => {
  expect(names(await layerBetween(base, [gone('.wh.a')]))).toEqual(['.wh.a'])
  expect(names(await layerBetween(base, [dir('a'), gone('a/.wh.b')]))).toEqual(['a/', 'a/.wh.b'])
})

test('what one layer adds and a later one deletes leaves no trace', async () => {
  const added = [dir('a'), sample('a/secret', { content: 'hush' }), dir('new'), sample('new/file')]
  expect(
    await layerBetween(base, added, [dir('a'), gone('a/.wh.secret'), gone('.wh.new')]),
  ).toEqual([])
})

test('a whiteout speaks of lower layers only, wherever in its layer it stands', async () => {
  const layer = [sample('x', { content: 'again' }), gone('.wh.x'), gone('.wh.y')]
  const found = await layerBetween(base, layer)
  expect(found.map(({ name, content }) => [name, content])).toEqual([
    ['.wh.y', ''],
    ['x', 'again'],
  ])
})

test('what differs in nothing but its time is left out', async () => {
  const touched = base
    .filter(({ type }) => type !== 'link')
    .map((one) => ({ ...one, mtime: 1_800_000_000 }))
  expect(await layerBetween(base, touched)).toEqual([])
})

test('folders above a change keep the attributes they have', async () => {
  const found = await layerBetween(base, [sample('root/.profile', { mtime: 1_800_000_000 })])
  expect(found.map(({ name, mode }) => [name, mode])).toEqual([
    ['root/', 0o700],
    ['root/.profile', 0o644],
  ])
})

test('times are cut to the commit, whole seconds, never the clock', async () => {
  const found = await layerBetween(base, [
    sample('late', { mtime: time + 1000 }),
    sample('old', { mtime: 12 }),
    gone('.wh.y'),
  ])
  expect(found.map(({ name, mtime }) => [name, mtime])).toEqual([
    ['.wh.y', time],
    ['late', time],
    ['old', time],
  ])
})

test('scratch is as the base has it, whatever the build did there', async () => {
  const more = [
    ...base,
    dir('etc'),
    sample('etc/hosts', { content: 'base' }),
    sample('tmp/kept', { content: 'k' }),
    dir('run'),
  ]
  const found = await layerBetween(more, [
    sample('.dockerenv'),
    dir('etc'),
    sample('etc/hosts', { content: 'engine' }),
    sample('etc/resolv.conf'),
    dir('tmp', 0o1777),
    gone('tmp/.wh.kept'),
    sample('tmp/new'),
    dir('proc'),
    sample('proc/1'),
    dir('run/app'),
    dir('root', 0o700),
    dir('root/.npm'),
    sample('root/.npm/log'),
    dir('root/.cache'),
  ])
  expect(names(found)).toEqual(['proc/'])
  expect(['tmp', 'run', 'dev', 'etc/hosts.allow', 'root/.npmrc'].filter(isScratch)).toEqual([])
})

test('a folder that became a link, and a link that became a folder', async () => {
  const linked = [...base, sample('l', { type: 'symlink', linkname: 'a' })]
  const found = await layerBetween(linked, [
    sample('a', { type: 'symlink', linkname: 'x' }),
    dir('l'),
    sample('l/file'),
  ])
  expect(found.map(({ name, type }) => [name, type])).toEqual([
    ['a', 'symlink'],
    ['l/', 'directory'],
    ['l/file', 'file'],
  ])
})

test('hard links are recomputed: the first path by bytes holds the content', async () => {
  const found = await layerBetween(base, [
    sample('z', { content: 'new' }),
    sample('b', { type: 'link', linkname: 'z' }),
    sample('c', { type: 'link', linkname: 'z' }),
  ])
  expect(found.map(({ name, type, linkname, content }) => [name, type, linkname, content])).toEqual(
    [
      ['b', 'file', '', 'new'],
      ['c', 'link', 'b', ''],
      ['z', 'link', 'b', ''],
    ],
  )
})

test('a hard link to an unchanged file of the base becomes a plain file', async () => {
  const found = await layerBetween(base, [
    sample('x', { content: 'shared' }),
    sample('new', { type: 'link', linkname: 'x' }),
  ])
  expect(found.map(({ name, type, content }) => [name, type, content])).toEqual([
    ['new', 'file', 'shared'],
  ])
})

test('capabilities, owners beyond the header and names of any bytes come through', async () => {
  const odd = sample('\xff\x80', {
    uid: 4_000_000_000,
    content: 'x',
    xattrs: new Map([['security.capability', '\x01\x00\x00\x02\x00\xff\xfe']]),
  })
  expect(await layerBetween(base, [odd])).toEqual([{ ...odd, mtime: time }])
})

const refused: [string, string, Sample[]][] = [
  ['a way out', 'straight down', [sample('../x')]],
  ['an absolute name', 'straight down', [sample('/x')]],
  [
    'a hard link to nothing',
    'hard link to nothing',
    [sample('h', { type: 'link', linkname: 'none' })],
  ],
  [
    'a hard link to a folder',
    'hard link to nothing',
    [sample('h', { type: 'link', linkname: 'a' })],
  ],
  ['an entry below a file', 'no folder', [sample('x/y')]],
  [
    'an entry through a link',
    'no folder',
    [sample('l', { type: 'symlink', linkname: 'a' }), sample('l/y')],
  ],
]

test.each(refused)('a layer with %s is refused', async (_what, message, layer) => {
  await expect(layerBetween(base, layer)).rejects.toMatchObject({
    code: 'invalid_image',
    message: expect.stringContaining(message) as string,
  })
})

const anyPath = fc
  .array(fc.constantFrom('a', 'b', 'c', 'a-b', 'é'), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'))
const node = fc.oneof(
  fc.record({
    content: fc.constantFrom('', '1', '22'),
    mode: fc.constantFrom(0o644, 0o4755),
    uid: fc.constantFrom(0, 901),
  }),
  fc.record({ type: fc.constant('symlink' as const), linkname: fc.constantFrom('a', '../b') }),
  fc.record({ type: fc.constant('directory' as const), mode: fc.constantFrom(0o755, 0o700) }),
)
const anyLayer = fc.array(fc.tuple(anyPath, node), { maxLength: 12 }).map((pairs) => {
  const layer = new Map<string, Sample>()
  for (const [name, more] of pairs) {
    const taken = [...layer.keys()].some(
      (other) =>
        other.startsWith(`${name}/`) ||
        (name.startsWith(`${other}/`) && layer.get(other)?.type !== 'directory'),
    )
    const bytes = Buffer.from(name).toString('latin1')
    if (!taken)
      layer.set(
        name,
        sample('type' in more && more.type === 'directory' ? `${bytes}/` : bytes, more),
      )
  }
  return [...layer.values()]
})

test('the canonical layer on the base gives exactly the tree that it was made from', async () => {
  const spool = await spooled()
  await fc.assert(
    fc.asyncProperty(anyLayer, anyLayer, async (first, second) => {
      const before = await treeOf(spool, [first])
      const after = await treeOf(spool, [second])
      const settled = settledTree(before, after)
      const plan = planLayer(before, settled)
      const collected = await collect(writeCanonicalLayer(plan, { spool, time }))
      const again = await mergeLayer(before, chunked(collected), { take: intoSpool(spool) })
      expect(text(again)).toBe(text(settled))
      // Once more from what it made: nothing is left to change.
      expect(planLayer(settled, settledTree(settled, again))).toEqual([])
    }),
    { numRuns: 200 },
  )
})

const text = (tree: Tree) => writeFilesManifest(tree, { times: false })

test('the files manifest turns back into its tree, and refuses what it does not know', async () => {
  const tree = await treeOf(await spooled(), [
    [
      ...base,
      sample('\xff\n\\', { xattrs: new Map([['user.\xff', '\x00\xff']]) }),
      sample('dev', { type: 'block', device: { major: 8, minor: 1 } }),
    ],
  ])
  const written = writeFilesManifest(tree, { times: true })
  const again = treeOfRecords(parseFilesManifest(written))
  expect(writeFilesManifest(again, { times: true })).toBe(written)
  expect(again.get('x')).toBe(again.get('y'))
  expect(() => parseFilesManifest(written.replace('"version":1', '"version":2'))).toThrow(
    'version 1',
  )
  expect(() => parseFilesManifest(written.replace('"type":"block"', '"type":"door"'))).toThrow(
    'broken line',
  )
  expect(() => parseFilesManifest(written.trimEnd())).toThrow('version 1')
})

test('the index of a base is cached, and a damaged one is made again', async () => {
  const { store } = memoryStore()
  const digest = await busyboxBase(store)
  const image = await readImage(store, digest)
  const cacheFolder = scratch()
  const first = await readBaseTree({ store, cacheFolder }, { digest, image })
  const unreadable = memoryStore().store
  const cached = await readBaseTree({ store: unreadable, cacheFolder }, { digest, image })
  expect(writeFilesManifest(cached, { times: true })).toBe(
    writeFilesManifest(first, { times: true }),
  )
  const [file = ''] = readdirSync(cacheFolder)
  appendFileSync(join(cacheFolder, file), '{}\n')
  await expect(readBaseTree({ store: unreadable, cacheFolder }, { digest, image })).rejects.toThrow(
    'has no',
  )
  const again = await readBaseTree({ store, cacheFolder }, { digest, image })
  expect(again.size).toBe(first.size)
})

test('a layer that is not what the config says, or whose compression is broken, is refused', async () => {
  const { store } = memoryStore()
  const tar = await tarOf(base)
  const plain = (await store.putBlob(oneChunk(tar))).digest
  const zipped = (await store.putBlob(oneChunk(gzipSync(tar)))).digest
  const broken = (await store.putBlob(oneChunk(gzipSync(tar).fill(0, 40, 60)))).digest
  const read = (digest: typeof plain, diffId: typeof plain) =>
    collect(openLayer(store, { digest, diffId }))
  expect((await read(zipped, plain)).equals(tar)).toBe(true)
  expect((await read(plain, plain)).equals(tar)).toBe(true)
  await expect(read(zipped, zipped)).rejects.toMatchObject({ code: 'digest_mismatch' })
  await expect(read(broken, plain)).rejects.toMatchObject({ code: 'invalid_image' })
})

test('the engine’s second deletion of one inode still carries a target, and is a deletion', async () => {
  const layer = await tarOf([sample('a/b/.wh.one'), sample('a/b/.wh.two')])
  const at = layer.indexOf('a/b/.wh.two')
  // The kernel shares one inode between deletions: the engine takes the second for a link at first.
  layer.write('a/b/one', at + 157, 'latin1')
  const sum = layer
    .subarray(at, at + 512)
    .fill(' ', 148, 156)
    .reduce((all, byte) => all + byte, 0)
  layer.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  const spool = await openSpool(scratch())
  onTestFinished(() => spool.close())
  const take = intoSpool(spool)
  const below = await mergeLayer(new Map(), oneChunk(await tarOf(base)), { take })
  const above = await mergeLayer(below, oneChunk(layer), { take })
  const removed = [...below.keys()].filter((path) => !above.has(path))
  expect(removed).toEqual(['a/b/one', 'a/b/two'])
})
