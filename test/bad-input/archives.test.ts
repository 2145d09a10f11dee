import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { repackTar } from '../../src/oci/context.ts'
import { encodeName } from '../../src/oci/entry-name.ts'
import {
  chunked,
  collect,
  craftedHeader,
  endOfTar,
  extension,
  padded,
  paxRecord,
  sample,
  tarOf,
  type Sample,
} from '../helpers/tar.ts'
import { workerAtHand } from './worker-log.ts'

/** Numbers are those of the catalogue in docs/bad-input.md. Each archive is one that a person sends to be built. */
const spoolFolder = mkdtempSync(join(tmpdir(), 'kiln-archives-'))
afterAll(() => rmSync(spoolFolder, { recursive: true }))
let worker: ReturnType<typeof workerAtHand>
beforeEach(() => {
  worker = workerAtHand()
})

const file = sample('file', { content: 'content' })
const header = (change: (block: Buffer) => void) => craftedHeader(file, change)
const body = padded('content')
const plain = header(() => undefined)
const good = Buffer.concat([plain, body])
const withByte = (at: number, text: string) => [
  header((block) => block.write(text, at)),
  body,
  endOfTar,
]
const withPax = (text: string) => [extension('x', text), good, endOfTar]
const folder = (name: string) => sample(name, { type: 'directory' })
const link = (name: string, linkname: string) => sample(name, { type: 'symlink', linkname })
const hard = (name: string, linkname: string) => sample(name, { type: 'link', linkname })
const named = (...names: string[]) => names.map((name) => sample(name))

type Row = [number: number, what: string, reason: string, archive: Sample[] | Buffer[]]

const rows: Row[] = [
  [33, 'a way out', 'out of the tree', named('../etc/passwd')],
  [33, 'an absolute name', 'absolute', named('/etc/passwd')],
  [33, 'a way out further down', 'out of the tree', named('a/../../b')],
  [33, 'a backslash', 'backslash', named('..\\x')],
  [33, 'a drive', 'backslash', named('C:\\x')],
  [33, 'a NUL in a name', 'NUL', withByte(0, 'a\0b')],
  [33, 'a name that is no UTF-8', 'UTF-8', named('\xff')],
  [33, 'Unicode twins', 'Unicode form', named(encodeName('\u00e9'), encodeName('e\u0301'))],
  [33, 'case twins', 'only in case', named('README', 'readme')],
  [34, 'two Dockerfiles', 'two entries', named('Dockerfile', 'Dockerfile')],
  [34, 'a second way to a Dockerfile', 'out of the tree', named('Dockerfile', 'x/../Dockerfile')],
  [34, 'a third way to a Dockerfile', 'two entries', named('Dockerfile', './Dockerfile')],
  [34, 'a byte after the end', 'bytes after its end', [good, endOfTar, Buffer.from('x')]],
  [34, 'no end', 'without its end', [good]],
  [34, 'half an end', 'half of its end', [good, Buffer.alloc(512)]],
  [34, 'two archives', 'bytes after its end', [good, endOfTar, good, endOfTar]],
  [35, 'a file through a link', 'no folder', [folder('d/'), link('l', 'd'), ...named('l/file')]],
  [35, 'a file through a link out', 'no folder', [link('l', '/etc'), ...named('l/passwd')]],
  [35, 'a link out', 'out of the tree', [link('l', '../../etc')]],
  [35, 'an absolute link', 'out of the tree', [link('l', '/etc/passwd')]],
  [35, 'a hard link out', 'hard links', [hard('h', '../../etc/passwd')]],
  [35, 'a hard link to a link', 'hard links', [link('l', 'x'), hard('h', 'l')]],
  [35, 'links in a circle', 'in circles', [link('a', 'b'), link('b', 'a')]],
  [36, 'a device', 'not taken', [sample('null', { type: 'character' })]],
  [36, 'a disk', 'not taken', [sample('disk', { type: 'block' })]],
  [36, 'a fifo', 'not taken', [sample('pipe', { type: 'fifo' })]],
  [36, 'a sparse file of GNU', 'of type "S"', withByte(156, 'S')],
  [36, 'a sparse file of pax', 'does not know', withPax(paxRecord('GNU.sparse.major', '1'))],
  [36, 'a contiguous file', 'of type "7"', withByte(156, '7')],
  [36, 'a type of somebody, a socket among them', 'of type "s"', withByte(156, 's')],
  [37, 'a negative pax size', 'pax size', withPax(paxRecord('size', '-1'))],
  [37, 'a pax size of NaN', 'pax size', withPax(paxRecord('size', 'NaN'))],
  [37, 'a huge pax size', 'pax size', withPax(paxRecord('size', '9'.repeat(16)))],
  [
    37,
    'a long name before a pax name',
    'two long names',
    [extension('L', 'a\0'), ...withPax(paxRecord('path', 'b'))],
  ],
  [
    37,
    'a pax name before a long name',
    'two long names',
    [extension('x', paxRecord('path', 'b')), extension('L', 'a\0'), good, endOfTar],
  ],
  [
    37,
    'a global pax name',
    'global pax header that sets',
    [extension('g', paxRecord('path', 'evil')), good, endOfTar],
  ],
  [37, 'a pax record of a wrong length', 'length is wrong', withPax('99 path=x\n')],
  [
    37,
    'a pax header of 1 GB',
    'an extension above',
    [header((block) => block.write('10000000000\0', 124).toString() && block.write('x', 156))],
  ],
  [38, 'a folder with content', 'which is no file', withByte(156, '5')],
  [
    38,
    'a negative size',
    'negative number',
    [header((block) => block.fill(0xff, 124, 136)), body, endOfTar],
  ],
  [38, 'a wrong checksum', 'wrong checksum', [Buffer.from(plain).fill('X', 0, 1), body, endOfTar]],
  [38, 'half a header', 'without its end', [good, plain.subarray(0, 100)]],
  [38, 'half a content', 'cut off', [plain, Buffer.from('con')]],
  [39, 'a path 4,000 deep', 'a name above', named(`${'d/'.repeat(4000)}f`)],
  [39, 'a path 101 deep', 'folders deep', named(`${'d/'.repeat(100)}f`)],
  [39, 'a link 101 deep', 'folders deep', [link('l', `${'d/'.repeat(100)}f`)]],
]

const isBytes = (archive: Sample[] | Buffer[]): archive is Buffer[] => archive[0] instanceof Buffer
const bytesOf = async (archive: Sample[] | Buffer[]) =>
  isBytes(archive) ? Buffer.concat(archive) : tarOf(archive)
const repack = (bytes: Uint8Array) =>
  repackTar(chunked(bytes), { mtime: 1_700_000_000, spoolFolder })

test.each(rows)('%i %s is refused', async (...[, , reason, archive]) => {
  const given: Uint8Array[] = []
  const bytes = await bytesOf(archive)
  await worker.refused('invalid_archive', reason, async () => {
    for await (const chunk of repack(bytes)) given.push(chunk)
  })
  expect(given).toEqual([])
  expect(readdirSync(spoolFolder)).toEqual([])
})

test('36 setuid and attributes are not refused, and do not come through', async () => {
  const odd = { mode: 0o6755, uid: 7, xattrs: new Map([['security.capability', 'x']]) }
  const packed = await collect(repack(await tarOf([sample('run', { ...odd, content: 'x' })])))
  const clean = sample('run', { mode: 0o755, content: 'x', mtime: 1_700_000_000 })
  expect(packed.equals(await collect(repack(await tarOf([clean]))))).toBe(true)
})

test('all of it at once: good archives are packed the same all the while', async () => {
  const source = await tarOf([file, sample('a/b', { content: 'x' })])
  const wanted = await collect(repack(source))
  const bad = await Promise.all(rows.map(([, , , archive]) => bytesOf(archive)))
  const packed: boolean[] = []
  let poured = 0
  const pour = async () => {
    do {
      await Promise.all(
        bad.map((bytes) =>
          expect(worker.run(() => collect(repack(bytes)))).rejects.toMatchObject({
            type: 'invalid_archive',
          }),
        ),
      )
      poured += bad.length
    } while (packed.length < 20)
  }
  const pack = async () => {
    while (packed.length < 20) {
      packed.push((await worker.run(() => collect(repack(source)))).equals(wanted))
    }
  }
  await Promise.all([pour(), pour(), pack()])
  expect(packed).toEqual(Array.from({ length: 20 }, () => true))
  expect(poured).toBeGreaterThanOrEqual(2 * rows.length)
  expect(worker.lines).toHaveLength(poured)
  expect(readdirSync(spoolFolder)).toEqual([])
})
