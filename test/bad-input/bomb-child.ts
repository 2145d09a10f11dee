import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { constants, crc32, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { digestOf } from '../../signing/canonical.ts'
import { repackTar } from '../../src/oci/context.ts'
import { mergeLayer } from '../../src/oci/merge.ts'
import { openLayer } from '../../src/oci/read-image.ts'
import { defaultTarLimits } from '../../src/oci/tar-reader.ts'
import { headerBytes } from '../../src/oci/tar-writer.ts'
import type { Tree } from '../../src/oci/tree.ts'
import { buildToolLayer } from '../../src/template/tool-layer.ts'
import { buildWheelLayer } from '../../src/template/wheel-layer.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { toFailure } from '../../src/main/failure.ts'
import { gitAtHand, person } from '../source/git-at-hand.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { collect, craftedHeader, endOfTar, extension, sample, type Sample } from '../helpers/tar.ts'
import { makeZip } from '../helpers/zip.ts'

// All bombs, one after the other, in a process of their own: `bomb-child.ts <scratch folder>` prints a line for
// each with the refusal, the most memory in MiB that the process had until then, which is no less than what this
// bomb took, and what it left in the folder.

const [scratch = ''] = process.argv.slice(2)
const gibibyte = 1024 ** 3
/** A little more than what a tool may hold: reading on to a GiB would prove nothing more. */
const tooManyMebibytes = 513

/** As many entries as are asked for, none of them held; headers by the thousand, since this is not what is tried. */
async function* many(count: number, entry: (at: number) => Sample): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < count; at += 1000) {
    yield Buffer.concat(Array.from({ length: 1000 }, (_none, n) => headerBytes(entry(at + n))))
  }
  yield endOfTar
}

/** The same of empty files, by the hundred thousand: only digits and the sum of a header differ. */
async function* emptyFiles(from: number, count: number): AsyncGenerator<Uint8Array> {
  const model = headerBytes(sample('f0000000'))
  const sum = Number.parseInt(Buffer.from(model).toString('latin1', 148, 154), 8)
  for (let at = 0; at < count; at += 1000) {
    const blocks = Buffer.alloc(1000 * model.length)
    for (let n = 0; n < 1000; n += 1) {
      const digits = String(from + at + n).padStart(7, '0')
      const more = Array.from(digits, Number).reduce((total, digit) => total + digit, 0)
      const start = n * model.length
      blocks.set(model, start)
      blocks.write(digits, start + 1, 'latin1')
      blocks.write((sum + more).toString(8).padStart(6, '0'), start + 148, 'latin1')
    }
    yield blocks
  }
  yield endOfTar
}

async function* repeated(block: Buffer, count: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < count; at += 1) yield block
}

const repack = (tar: AsyncIterable<Uint8Array>) =>
  collect(repackTar(tar, { mtime: 1_700_000_000, spoolFolder: scratch }))

/** As gzip would write `start` and so many MiB of zeros, whose compressed form is made once: it is not what is tried. */
function gzipped(start: Uint8Array, mebibytes: number): Buffer {
  const flush = { finishFlush: constants.Z_FULL_FLUSH }
  const block = Buffer.alloc(1024 ** 2)
  const small = deflateRawSync(block, flush)
  const parts = [gzipSync('').subarray(0, 10), deflateRawSync(start, flush)]
  let sum = crc32(start)
  for (let at = 0; at < mebibytes; at += 1) {
    parts.push(small)
    sum = crc32(block, sum)
  }
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(sum)
  trailer.writeUInt32LE((start.length + mebibytes * 1024 ** 2) % 2 ** 32, 4)
  return Buffer.concat([...parts, deflateRawSync(''), trailer])
}

async function tool(archive: Buffer): Promise<unknown> {
  const { objects, store } = memoryStore()
  const sha256 = digestOf(archive)
  objects.set(blobKey(sha256), archive)
  const take = { what: 'tree', to: '/usr/local/lib/tool', links: {} } as const
  const locked = { npm: 'tool', version: '1.0.0', size: archive.length, sha256, integrity: '' }
  return buildToolLayer(store, { tool: { npm: 'tool', version: '1.0.0', take }, locked, epoch: 0 })
}

/** The file's header as it is written for a size that it does not have. */
const claiming = (size: number) =>
  craftedHeader(sample('package/big'), (block) =>
    block.write(`${size.toString(8).padStart(11, '0')}\0`, 124),
  )

const digest = digestOf(Buffer.alloc(0))
const take = async () => ({ size: 0, digest, content: null })
const limits = { ...defaultTarLimits, total: 64 * 1024 ** 2, entries: 20_000 }

async function layer(stored: Buffer): Promise<unknown> {
  const { objects, store } = memoryStore()
  const at = digestOf(stored)
  objects.set(blobKey(at), stored)
  const opened = openLayer(store, { digest: at, diffId: at })
  return mergeLayer(new Map(), opened, { take, limits })
}

/** Ten folders in each of seven levels, all of them one object: ten million files in nine objects. */
async function gitTrees(
  depth: number,
  leaf: (folder: string) => Promise<string>,
): Promise<unknown> {
  const hand = await gitAtHand()
  try {
    const folder = join(hand.repositories, 'bomb')
    mkdirSync(folder)
    await person(folder, 'init', '--quiet', '--initial-branch=main')
    let tree = await leaf(folder)
    for (let level = 0; level < depth; level += 1) {
      const lines = Array.from('0123456789', (digit) => `040000 tree ${tree}\td${digit}\n`)
      tree = await object(folder, ['mktree'], lines.join(''))
    }
    const commit = await person(folder, 'commit-tree', tree, '-m', 'bomb')
    await person(folder, 'update-ref', 'refs/heads/main', commit)
    return await hand.activities.resolveSource({ repository: folder, revision: 'main' })
  } finally {
    await hand.close()
  }
}

async function object(folder: string, args: string[], input: string | Buffer): Promise<string> {
  const { execa } = await import('execa')
  return (await execa('git', ['-C', folder, ...args], { input })).stdout
}

const entryOf = (mode: string, kind: string) => async (folder: string, content: Buffer) =>
  object(
    folder,
    ['mktree'],
    `${mode} blob ${await object(folder, ['hash-object', '-w', '--stdin'], content)}\t${kind}\n`,
  )

const bombs: Record<string, () => Promise<unknown>> = {
  'a million empty files': () => repack(emptyFiles(0, 1_000_000)),
  'a million folders in names': () =>
    repack(many(10_000, (at) => sample(`${at}/${'d/'.repeat(98)}f`))),
  'links that lead a long way': () =>
    repack(
      many(2000, (at) => sample(`l${at}`, { type: 'symlink', linkname: `${'./'.repeat(2000)}x` })),
    ),
  'a tool of 1 GiB': () => tool(gzipped(claiming(gibibyte), tooManyMebibytes)),
  'a tool that ends in half a GiB of nothing': () =>
    tool(gzipped(Buffer.alloc(0), tooManyMebibytes)),
  'a wheel that claims 4 GB': () => {
    const wheel = makeZip([
      { name: 'a', content: Buffer.alloc(1024 ** 2), claimedSize: 4_294_967_294 },
    ])
    const { objects, store } = memoryStore()
    const sha256 = digestOf(wheel)
    objects.set(blobKey(sha256), wheel)
    return buildWheelLayer(store, {
      wheel: { pypi: 'a', version: '1', take: { from: 'a', to: '/a' } },
      locked: { pypi: 'a', version: '1', size: wheel.length, sha256 },
      epoch: 0,
    })
  },
  'a gzipped layer of 100 KB that holds 100 MB': () => layer(gzipped(claiming(0), 100)),
  'a layer in zstd': () => layer(zstdCompressSync(Buffer.alloc(64 * 1024 ** 2))),
  'two gzipped archives in one layer': () =>
    layer(Buffer.concat([gzipSync(endOfTar), gzipSync(Buffer.from('more'))])),
  'bytes after a gzipped layer': () =>
    layer(Buffer.concat([gzipSync(endOfTar), Buffer.from('more')])),
  'a layer of headers without a file': () =>
    mergeLayer(new Map(), repeated(extension('g', ''), 1_000_000), { take, limits }),
  'layers of a million files': async () => {
    let tree: Tree = new Map()
    for (let from = 0; from < 1_000_000; from += 10_000) {
      tree = await mergeLayer(tree, emptyFiles(from, 10_000), { take, limits })
    }
    return tree.size
  },
  'ten million files in git': () =>
    gitTrees(7, (folder) => entryOf('100644', 'file')(folder, Buffer.from('x'))),
  'a link of a MiB in git': () =>
    gitTrees(0, (folder) => entryOf('120000', 'link')(folder, Buffer.alloc(1024 ** 2, 'x'))),
}

for (const [name, bomb] of Object.entries(bombs)) {
  const told = await bomb().then(
    (result) => ({ code: 'none', message: String(result), place: null }),
    toFailure,
  )
  const { code, message, place } = told
  const memoryMiB = process.resourceUsage().maxRSS / 1024
  const left = readdirSync(scratch)
  globalThis.gc?.()
  process.stdout.write(`${JSON.stringify({ name, code, message, place, memoryMiB, left })}\n`)
}
