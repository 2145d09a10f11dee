import { execa } from 'execa'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { digestOf } from '../../signing/canonical.ts'
import { readTar } from '../../src/oci/tar-reader.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { downloadWheel } from '../../src/template/pypi-package.ts'
import type { Run } from '../../src/template/command.ts'
import type { WheelTool } from '../../src/template/template-file.ts'
import { buildWheelLayer } from '../../src/template/wheel-layer.ts'
import { readZipFile } from '../../src/template/zip.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { makeZip, type ZipEntry } from '../helpers/zip.ts'

const from = 'tool-1.0.data/scripts/tool'
const wheel: WheelTool = {
  pypi: 'tool-bin',
  version: '1.0',
  take: { from, to: '/usr/local/bin/tool' },
}
const program = Buffer.from('#!/bin/sh\necho tool\n'.repeat(50))
const entries: readonly ZipEntry[] = [
  { name: 'tool-1.0.dist-info/RECORD', content: Buffer.from('a list') },
  { name: from, content: program },
  { name: 'plain', content: program, method: 0 },
]

async function layerOf(stored: Buffer, promised: Buffer = stored) {
  const { objects, store } = memoryStore()
  const sha256 = digestOf(promised)
  objects.set(blobKey(sha256), stored)
  const locked = { pypi: 'tool-bin', version: '1.0', size: promised.length, sha256 }
  const layer = await buildWheelLayer(store, { wheel, locked, epoch: 1000 })
  const found: { name: string; mode: number; uid: number; mtime: number; content: string }[] = []
  for await (const { body, entry } of readTar(
    oneChunk(objects.get(blobKey(layer.digest)) ?? Buffer.alloc(0)),
  )) {
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    const { name, mode, uid, mtime } = entry
    found.push({ name, mode, uid, mtime, content: Buffer.concat(chunks).toString() })
  }
  return found
}

test('a layer holds the one file as a program of root, with the time of the base', async () => {
  const folder = { mode: 0o755, uid: 0, mtime: 1000, content: '' }
  expect(await layerOf(makeZip(entries, 'a comment'))).toEqual([
    { name: 'usr/', ...folder },
    { name: 'usr/local/', ...folder },
    { name: 'usr/local/bin/', ...folder },
    { name: 'usr/local/bin/tool', mode: 0o755, uid: 0, mtime: 1000, content: program.toString() },
  ])
})

test('python and this reader see the same files', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-zip-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const ours = join(folder, 'ours.zip')
  await writeFile(ours, makeZip(entries))
  const script = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None
with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as out:
    for name in z.namelist(): out.writestr(name, z.read(name))`
  const theirs = join(folder, 'theirs.zip')
  await execa('python3', ['-c', script, ours, theirs])
  const bytes = await readFile(theirs)
  for (const { name, content } of entries) expect(readZipFile(bytes, name)).toEqual(content)
  expect(readZipFile(bytes, 'tool-1.0.data/scripts')).toBeUndefined()
})

const good = makeZip(entries)

function changed(mark: string, at: number, value: number): Buffer {
  const bytes = Buffer.from(good)
  bytes.writeUInt16LE(value, bytes.indexOf(Buffer.from(mark)) + at)
  return bytes
}

test.each([
  ['no archive', Buffer.from('<html>not found</html>'), 'has no directory'],
  ['nothing', Buffer.alloc(0), 'has no directory'],
  ['an archive that ends too early', good.subarray(0, -30), 'has no directory'],
  ['a directory elsewhere', changed('PK\u0005\u0006', 16, 3), 'directory is broken'],
  ['an encrypted file', encrypted(), 'encrypted'],
  ['zip64', changed('PK\u0005\u0006', 10, 0xffff), 'zip64'],
  [
    'more than a file says',
    makeZip([{ name: from, content: program, claimedSize: 10 }]),
    'unpacked',
  ],
  [
    'less than a file says',
    makeZip([{ name: from, content: program, claimedSize: 9999 }]),
    'length',
  ],
  ['another file only', makeZip([{ name: `${from}x`, content: program }]), `no file ${from}`],
])('%s is refused', async (_what, bytes, message) => {
  await expect(layerOf(bytes)).rejects.toMatchObject({
    code: 'invalid_archive',
    message: expect.stringContaining(message) as string,
  })
})

function encrypted(): Buffer {
  const bytes = makeZip([{ name: from, content: program }])
  bytes.writeUInt16LE(1, bytes.indexOf(Buffer.from('PK\u0001\u0002')) + 8)
  return bytes
}

test('a stored wheel that is not the locked one is refused', async () => {
  const other = makeZip([{ name: from, content: Buffer.from('other') }])
  await expect(layerOf(other, good)).rejects.toMatchObject({ code: 'digest_mismatch' })
})

test('pip is asked for one wheel of one version, and what it gives is stored under its digest', async () => {
  const { objects, store } = memoryStore()
  const asked: string[][] = []
  const run: Run = async ({ arguments: args, cwd, file }) => {
    asked.push([file, ...args])
    await writeFile(join(cwd, 'tool_bin-1.0-py3-none-any.whl'), good)
    return { exitCode: 0, stdout: '', stderr: '' }
  }
  const room = { store, run, scratch: await scratch() }
  const locked = await downloadWheel(room, { pypi: 'tool-bin', version: '1.0' })
  expect(locked).toEqual({
    pypi: 'tool-bin',
    version: '1.0',
    size: good.length,
    sha256: digestOf(good),
  })
  expect(Buffer.from(objects.get(blobKey(locked.sha256)) ?? [])).toEqual(good)
  expect(asked[0]?.slice(0, 5)).toEqual([
    'pip',
    'download',
    'tool-bin==1.0',
    '--no-deps',
    '--only-binary=:all:',
  ])
})

const nothingThere: Run = () =>
  Promise.resolve({ exitCode: 1, stdout: '', stderr: 'ERROR: No matching distribution\n' })

test('an index without the wheel is input_unavailable, with what pip said', async () => {
  const room = { store: memoryStore().store, run: nothingThere, scratch: await scratch() }
  await expect(downloadWheel(room, { pypi: 'tool-bin', version: '9.9' })).rejects.toMatchObject({
    code: 'input_unavailable',
    lines: ['ERROR: No matching distribution'],
  })
})

async function scratch(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-wheel-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}
