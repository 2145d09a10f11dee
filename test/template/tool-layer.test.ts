import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { digestOf } from '../../signing/canonical.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { noXattrs } from '../../src/oci/tar-entry.ts'
import { readTar } from '../../src/oci/tar-reader.ts'
import { writeTar, type TarOutput } from '../../src/oci/tar-writer.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import type { NpmTool } from '../../src/template/template-file.ts'
import { buildToolLayer } from '../../src/template/tool-layer.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const tree: NpmTool = {
  npm: 'tool',
  version: '1.0.0',
  take: { what: 'tree', to: '/usr/local/lib/tool', links: { '/usr/local/bin/tool': 'bin/cli.js' } },
}
const file: NpmTool = {
  ...tree,
  take: { what: 'file', from: 'bin/cli.js', to: '/usr/local/bin/tool' },
}

const entries = { 'package/bin/cli.js': '#!', 'package/a.js': 'a', 'package/b/c.js': 'c' }

async function packed(files: Record<string, string>): Promise<Buffer> {
  const outputs = Object.entries(files).map(([name, text]): TarOutput => ({
    entry: {
      type: 'file',
      name,
      linkname: '',
      mode: name.includes('/bin/') ? 0o755 : 0o600,
      uid: 1000,
      gid: 1000,
      size: text.length,
      mtime: 1,
      device: { major: 0, minor: 0 },
      xattrs: noXattrs,
    },
    body: [Buffer.from(text)],
  }))
  const chunks: Uint8Array[] = []
  for await (const chunk of writeTar(outputs)) chunks.push(chunk)
  return gzipSync(Buffer.concat(chunks))
}

async function layerOf(tool: NpmTool, archive: Buffer, promised: Buffer = archive) {
  const { objects, store } = memoryStore()
  const sha256 = digestOf(promised)
  objects.set(blobKey(sha256), archive)
  const locked = { npm: 'tool', version: '1.0.0', size: promised.length, sha256, integrity: '' }
  const layer = await buildToolLayer(store, { tool, locked, epoch: 1000 })
  const names: string[] = []
  for await (const { entry } of readTar(
    oneChunk(objects.get(blobKey(layer.digest)) ?? Buffer.alloc(0)),
  )) {
    names.push(
      `${entry.mode.toString(8)} ${entry.uid} ${entry.mtime} ${entry.name} ${entry.linkname}`.trim(),
    )
  }
  return { digest: layer.digest, names }
}

test('a tree is taken whole, with its links and parents, owned by root and sorted', async () => {
  const { names } = await layerOf(tree, await packed(entries))
  expect(names).toEqual([
    '755 0 1000 usr/',
    '755 0 1000 usr/local/',
    '755 0 1000 usr/local/bin/',
    '777 0 1000 usr/local/bin/tool ../lib/tool/bin/cli.js',
    '755 0 1000 usr/local/lib/',
    '755 0 1000 usr/local/lib/tool/',
    '644 0 1000 usr/local/lib/tool/a.js',
    '755 0 1000 usr/local/lib/tool/b/',
    '644 0 1000 usr/local/lib/tool/b/c.js',
    '755 0 1000 usr/local/lib/tool/bin/',
    '755 0 1000 usr/local/lib/tool/bin/cli.js',
  ])
})

test('one file is taken alone, and the archive’s order does not matter', async () => {
  const { digest, names } = await layerOf(file, await packed(entries))
  expect(names.at(-1)).toBe('755 0 1000 usr/local/bin/tool')
  expect(names).toHaveLength(4)
  const turned = Object.fromEntries(Object.entries(entries).toReversed())
  expect((await layerOf(file, await packed(turned))).digest).toBe(digest)
})

test('a stored package that is not what its name promises is refused', async () => {
  const other = await packed({ ...entries, 'package/bin/cli.js': 'evil' })
  await expect(layerOf(file, other, await packed(entries))).rejects.toMatchObject({
    code: 'digest_mismatch',
  })
})

test.each(['package/../../etc/passwd', '/etc/passwd', 'package//x', 'package/./x'])(
  'an entry named %s is refused',
  async (name) => {
    await expect(layerOf(tree, await packed({ ...entries, [name]: 'x' }))).rejects.toMatchObject({
      code: 'invalid_archive',
      place: `entry ${name}`,
    })
  },
)

test('a package without what the template takes is refused', async () => {
  await expect(layerOf(file, await packed({ 'package/x': 'x' }))).rejects.toMatchObject({
    code: 'invalid_archive',
  })
})

test('what is no gzipped tar is refused, cut off ones included', async () => {
  const archive = await packed(entries)
  await expect(layerOf(file, Buffer.from('nothing'))).rejects.toMatchObject({
    code: 'invalid_archive',
  })
  await expect(layerOf(file, archive.subarray(0, archive.length - 20))).rejects.toMatchObject({
    code: 'invalid_archive',
  })
})
