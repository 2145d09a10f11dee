import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import * as fc from 'fast-check'
import { extract } from 'tar-stream'
import { afterAll, expect, test } from 'vitest'
import { writeCanonicalLayer } from '../../src/oci/canonical-layer.ts'
import { planLayer, settledTree } from '../../src/oci/changes.ts'
import { repackTar } from '../../src/oci/context.ts'
import { decodeName, encodeName } from '../../src/oci/entry-name.ts'
import { intoSpool, mergeLayer } from '../../src/oci/merge.ts'
import { openSpool } from '../../src/oci/spool.ts'
import type { Tree } from '../../src/oci/tree.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import { chunked, collect, sample, samplesOf, tarOf, type Sample } from '../helpers/tar.ts'

// What Kiln packs, other people's programs must list as Kiln does: tar-stream, Python's tarfile, and the
// engine, which unpacks it into a file system and packs that again. Trees of one run share one archive,
// each in a folder of its own, since a program that starts costs more than what it lists.

const time = 1_760_000_000
const folder = mkdtempSync(join(tmpdir(), 'kiln-listings-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** `type mode uid:gid time target-or-digest` by path, as text that tells apart all that may differ. */
type Listing = Readonly<Record<string, string>>
type Listed = {
  name: string
  type: string
  mode: number
  uid: number
  gid: number
  mtime: number
  target: string
  content: Buffer
}

function listingOf(all: readonly Listed[]): Listing {
  const lines = new Map<string, string>()
  for (const { name, type, mode, uid, gid, mtime, target, content } of all) {
    const path = name.replace(/^\.\//, '').replace(/\/$/, '')
    const digest = createHash('sha256').update(content).digest('hex')
    const own = `${type} ${mode.toString(8)} ${uid}:${gid} ${mtime} ${type === 'symlink' ? target : digest}`
    // A hard link is the file that it names.
    lines.set(path, type === 'link' ? (lines.get(target) ?? `a link to ${target}`) : own)
  }
  return Object.fromEntries([...lines].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

const text = (name: string) => decodeName(name) ?? name
const byKiln = (all: readonly Sample[]) =>
  listingOf(
    all.map(({ name, linkname, content, ...rest }) => ({
      ...rest,
      name: text(name),
      target: text(linkname),
      content: Buffer.from(content, 'latin1'),
    })),
  )

async function byTarStream(bytes: Buffer, keep: RegExp = /./): Promise<Listing> {
  const reading = extract()
  Readable.from([bytes]).pipe(reading)
  const all: Listed[] = []
  for await (const entry of reading) {
    const { name, type, mode, gid, mtime, linkname, pax } = entry.header
    // It leaves to its caller what a pax header says of the owner.
    const uid = Number((pax as Record<string, string> | null)?.['uid'] ?? entry.header.uid)
    const parts: Buffer[] = []
    for await (const part of entry) parts.push(part as Buffer)
    const seconds = Math.floor((mtime?.getTime() ?? 0) / 1000)
    const listed = { name, type, mode: mode & 0o7777, uid, gid, mtime: seconds }
    all.push({ ...listed, target: linkname ?? '', content: Buffer.concat(parts) })
  }
  return listingOf(all.filter(({ name }) => keep.test(name)))
}

const python = `
import json, sys, tarfile
kinds = {b'0': 'file', b'1': 'link', b'2': 'symlink', b'5': 'directory'}
with tarfile.open(sys.argv[1]) as tar:
    print(json.dumps([[m.name, kinds[m.type], m.mode, m.uid, m.gid, int(m.mtime), m.linkname,
        tar.extractfile(m).read().hex() if m.isreg() else ''] for m in tar]))
`
function byPython(bytes: Buffer): Listing {
  const path = join(folder, 'one.tar')
  writeFileSync(path, bytes)
  const output = execFileSync('python3', ['-c', python, path], { encoding: 'utf8' })
  type Row = [string, string, number, number, number, number, string, string]
  return listingOf(
    (JSON.parse(output) as Row[]).map(([name, type, mode, uid, gid, mtime, target, hex]) => {
      return { name, type, mode, uid, gid, mtime, target, content: Buffer.from(hex, 'hex') }
    }),
  )
}

const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

function engine(...args: string[]): Buffer {
  return execFileSync('docker', args, {
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Loads layers into the engine as an image and lists what a container of it would see. */
async function byEngine(layers: readonly Buffer[]): Promise<Listing> {
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/none'], Labels: { 'kiln.test': folder } },
    rootfs: { type: 'layers', diff_ids: layers.map((bytes) => `sha256:${sha(bytes)}`) },
  })
  const names = layers.map((_bytes, at) => `${at}/layer.tar`)
  const manifest = JSON.stringify([{ Config: 'config.json', RepoTags: null, Layers: names }])
  const archive = await tarOf([
    sample('manifest.json', { content: manifest }),
    sample('config.json', { content: config }),
    ...layers.map((bytes, at) => sample(names[at] ?? '', { content: bytes.toString('latin1') })),
  ])
  const file = join(folder, 'image.tar')
  writeFileSync(file, archive)
  expect(execFileSync('docker', ['load', '-i', file], { encoding: 'utf8' })).toContain(
    'Loaded image',
  )
  const image = `sha256:${sha(Buffer.from(config))}`
  const container = String(engine('create', image)).trim()
  try {
    return await byTarStream(engine('export', container), /^t\d+\//)
  } finally {
    engine('rm', container)
    engine('rmi', image)
  }
}

const part = fc
  .stringMatching(/^[a-z0-9][a-zA-Z0-9é_. -]{0,30}$/)
  .filter((name) => !name.includes('..'))
const path = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'))
const content = fc.stringMatching(/^[ -~]{0,600}$/)
const mode = fc.constantFrom(0o600, 0o644, 0o755, 0o4755)
const node = fc.oneof(
  fc.record({ content, mode }),
  fc.record({ type: fc.constant('symlink' as const), linkname: part.map(encodeName) }),
  fc.record({ type: fc.constant('directory' as const), mode: fc.constantFrom(0o755, 0o700) }),
)
const anyTree = fc.uniqueArray(fc.tuple(path, node), { selector: ([name]) => name, maxLength: 10 })
type AnyTree = readonly (readonly [string, Partial<Sample>])[]
const samples = (tree: AnyTree) =>
  tree.map(([name, more]) =>
    sample(encodeName(more.type === 'directory' ? `${name}/` : name), {
      ...more,
      ...(more.type === 'symlink' ? { mode: 0o777 } : {}),
    }),
  )
const owned = (tree: AnyTree, uid: number) => samples(tree).map((one) => ({ ...one, uid }))
const inFolder = (at: number, entries: readonly Sample[]) => [
  sample(`t${at}/`, { type: 'directory', mode: 0o755 }),
  ...entries.map((one) => ({ ...one, name: `t${at}/${one.name}` })),
]

const repack = async (entries: readonly Sample[]) =>
  collect(repackTar(oneChunk(await tarOf(entries)), { mtime: time, spoolFolder: folder }))
const packs = (entries: readonly Sample[]) =>
  repack(entries).then(
    () => true,
    () => false,
  )

test('what is packed to be built is listed the same by tar-stream, Python and the engine', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyTree, { minLength: 30, maxLength: 40 }), async (trees) => {
      const all: Sample[] = []
      for (const [at, tree] of trees.entries()) {
        if (await packs(samples(tree))) all.push(...inFolder(at, samples(tree)))
      }
      fc.pre(all.length > 60)
      const packed = await repack(all)
      const listed = byKiln(await samplesOf(packed))
      expect(await byTarStream(packed)).toEqual(listed)
      expect(byPython(packed)).toEqual(listed)
      expect(await byEngine([packed])).toEqual(listed)
    }),
    { numRuns: 2, endOnFailure: true },
  )
})

test('a canonical layer is listed the same, and gives on its base what it was made from, in the engine too', async () => {
  const spool = await openSpool(folder)
  const take = intoSpool(spool)
  const merged = async (below: Tree, bytes: Buffer) => mergeLayer(below, chunked(bytes), { take })
  const isTree = async (entries: readonly Sample[]) =>
    merged(new Map(), await tarOf(entries)).then(
      () => true,
      () => false,
    )
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(anyTree, anyTree), { minLength: 30, maxLength: 40 }),
      async (pairs) => {
        const [before, after]: [Sample[], Sample[]] = [[], []]
        for (const [at, [old, fresh]] of pairs.entries()) {
          const [one, other] = [
            owned(old, 0),
            [...owned(old.slice(1), 0), ...owned(fresh, 4_000_000)],
          ]
          if (!(await isTree(one)) || !(await isTree(other))) continue
          before.push(...inFolder(at, one))
          after.push(...inFolder(at, other))
        }
        fc.pre(before.length > 60)
        const base = await tarOf(before.map((entry) => ({ ...entry, mtime: time })))
        const [below, built] = [
          await merged(new Map(), base),
          await merged(new Map(), await tarOf(after)),
        ]
        const plan = planLayer(below, settledTree(below, built))
        const layer = await collect(writeCanonicalLayer(plan, { spool, time }))
        const listed = byKiln(await samplesOf(layer))
        expect(await byTarStream(layer)).toEqual(listed)
        expect(byPython(layer)).toEqual(listed)
        const whole = await merged(below, layer)
        const all = planLayer(new Map(), whole)
        const flat = await samplesOf(await collect(writeCanonicalLayer(all, { spool, time })))
        // A folder that no entry names gets the engine's clock; Kiln's layers name each.
        const named = planLayer(new Map(), below)
        const ground = await collect(writeCanonicalLayer(named, { spool, time }))
        expect(await byEngine([ground, layer])).toEqual(byKiln(flat))
      },
    ),
    { numRuns: 2, endOnFailure: true },
  )
  await spool.close()
})
