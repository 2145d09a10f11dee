import { expect, test } from 'vitest'
import { defaultTarLimits } from '../../src/oci/tar-reader.ts'
import {
  craftedHeader,
  endOfTar,
  extension,
  padded,
  paxRecord,
  sample,
  samplesOf,
  tarOf,
} from '../helpers/tar.ts'

const file = sample('file', { content: 'content' })
const header = (change: (block: Buffer) => void) => craftedHeader(file, change)
const plain = header(() => undefined)
const body = padded('content')
const good = Buffer.concat([plain, body])
const withPax = (text: string) => [extension('x', text), good, endOfTar]

const refused: [string, string, Buffer[]][] = [
  ['nothing at all', 'ends without its end mark', []],
  ['no end mark', 'ends without its end mark', [good]],
  ['half of the end mark', 'half of its end mark', [good, Buffer.alloc(512)]],
  [
    'an entry after half of the end mark',
    'half of its end mark',
    [good, Buffer.alloc(512), good, endOfTar],
  ],
  ['a second archive behind the end', 'bytes after its end', [good, endOfTar, good, endOfTar]],
  ['one byte behind the end', 'bytes after its end', [good, endOfTar, Buffer.from('x')]],
  ['a header that is cut off', 'ends without its end mark', [good, plain.subarray(0, 100)]],
  ['content that is cut off', 'cut off in the content', [plain, Buffer.from('con')]],
  ['padding that is cut off', 'cut off', [plain, Buffer.from('content')]],
  [
    'a pax header that is cut off',
    'cut off in an extension',
    [extension('x', 'x').subarray(0, 600)],
  ],
  ['a wrong checksum', 'wrong checksum', [Buffer.from(plain).fill('X', 0, 1), body, endOfTar]],
  [
    'another magic',
    'neither ustar nor GNU',
    [header((block) => block.write('tar\0\0', 257)), body, endOfTar],
  ],
  [
    'letters for a number',
    'a number that is none',
    [header((block) => block.write('12x', 124)), body, endOfTar],
  ],
  [
    'a negative size in base-256',
    'negative number',
    [header((block) => block.fill(0xff, 124, 136)), body, endOfTar],
  ],
  [
    'a size beyond all numbers',
    'too big',
    [header((block) => block.fill(0x7f, 125, 136).fill(0x80, 124, 125)), body, endOfTar],
  ],
  ['a NUL inside a name', 'NUL', [header((block) => block.write('a\0b', 0)), body, endOfTar]],
  ['no name', 'without a name', [header((block) => block.fill(0, 0, 100)), body, endOfTar]],
  ['a sparse file', 'of type "S"', [header((block) => block.write('S', 156)), body, endOfTar]],
  ['a contiguous file', 'of type "7"', [header((block) => block.write('7', 156)), body, endOfTar]],
  ['a type of somebody', 'of type "Z"', [header((block) => block.write('Z', 156)), body, endOfTar]],
  [
    'a folder with content',
    'which is no file',
    [header((block) => block.write('5', 156)), body, endOfTar],
  ],
  [
    'a symlink without a target',
    'without a target',
    [craftedHeader(sample('a'), (block) => block.write('2', 156)), endOfTar],
  ],
  [
    'a file with a target',
    'without a link',
    [header((block) => block.write('x', 157)), body, endOfTar],
  ],
  [
    'a file named like a folder',
    'like a folder',
    [header((block) => block.write('file/', 0)), body, endOfTar],
  ],
  ['a pax record too long', 'length is wrong', withPax('99 path=x\n')],
  ['a pax record too short', 'length is wrong', withPax('7 path=x\n')],
  ['a pax record without a length', 'length is wrong', withPax('path=x\n')],
  ['a pax record that ends otherwise', 'length is wrong', withPax('9 path=xy')],
  [
    'a pax record twice',
    'two pax records',
    withPax(paxRecord('path', 'a') + paxRecord('path', 'b')),
  ],
  ['a pax size that is negative', 'pax size', withPax(paxRecord('size', '-1'))],
  ['a pax size that is NaN', 'pax size', withPax(paxRecord('size', 'NaN'))],
  ['a pax size that is huge', 'pax size', withPax(paxRecord('size', '9'.repeat(16)))],
  ['an empty pax path', 'empty', withPax(paxRecord('path', ''))],
  ['a NUL in a pax path', 'NUL', withPax(paxRecord('path', 'a\0b'))],
  ['a pax time that is none', 'mtime', withPax(paxRecord('mtime', '1e9'))],
  ['a sparse file of pax', 'does not know', withPax(paxRecord('GNU.sparse.major', '1'))],
  ['a pax record nobody knows', 'does not know', withPax(paxRecord('VENDOR.thing', '1'))],
  [
    'two pax headers',
    'two extensions',
    [extension('x', paxRecord('uid', '1')), ...withPax(paxRecord('gid', '1'))],
  ],
  [
    'two long names',
    'two extensions',
    [extension('L', 'a\0'), extension('L', 'b\0'), good, endOfTar],
  ],
  [
    'a pax path and a long name',
    'two long names',
    [extension('L', 'a\0'), ...withPax(paxRecord('path', 'b'))],
  ],
  [
    'a pax link and a long link',
    'two long links',
    [extension('K', 'a\0'), ...withPax(paxRecord('linkpath', 'b'))],
  ],
  ['a NUL inside a long name', 'NUL', [extension('L', 'a\0b\0'), good, endOfTar]],
  [
    'a global path',
    'global pax header that sets',
    [extension('g', paxRecord('path', 'evil')), good, endOfTar],
  ],
  [
    'an extension without an entry',
    'without its entry',
    [extension('x', paxRecord('path', 'a')), endOfTar],
  ],
]

test.each(refused)('refuses %s', async (_what, message, parts) => {
  await expect(samplesOf(Buffer.concat(parts))).rejects.toMatchObject({
    code: 'invalid_archive',
    message: expect.stringContaining(message) as string,
  })
})

test('accepts the archive that the refused ones are made from', async () => {
  expect(await samplesOf(Buffer.concat([good, endOfTar, Buffer.alloc(8192)]))).toEqual([file])
})

test('names the last entry that was read as the place', async () => {
  await expect(samplesOf(good)).rejects.toMatchObject({ place: 'entry file' })
})

const limited: [string, Partial<typeof defaultTarLimits>][] = [
  ['more than 2 entries', { entries: 2 }],
  ['a name above 5 bytes', { name: 5 }],
  ['more than 20 bytes', { total: 20 }],
  ['an extension above 100 bytes', { extension: 100 }],
]

test.each(limited)('refuses %s where the limit says so', async (message, limit) => {
  const bytes = await tarOf([
    sample('a', { content: 'x'.repeat(10) }),
    sample('b', { xattrs: new Map([['user.long', 'x'.repeat(200)]]) }),
    sample('longer', { content: 'x'.repeat(11) }),
  ])
  await expect(samplesOf(bytes)).resolves.toHaveLength(3)
  await expect(samplesOf(bytes, { ...defaultTarLimits, ...limit })).rejects.toThrow(message)
})
