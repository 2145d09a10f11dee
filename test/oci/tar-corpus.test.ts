import { execFileSync } from 'node:child_process'
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { encodeName, escapeName, unescapeName } from '../../src/oci/entry-name.ts'
import type { TarType } from '../../src/oci/tar-entry.ts'
import { collect, chunked, sample, samplesOf, tarOf, type Sample } from '../helpers/tar.ts'

const latin = (bytes: number[]) => Buffer.from(bytes).toString('latin1')
const everyByte = latin(Array.from({ length: 256 }, (_none, byte) => byte))
const capability = latin([1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])

/** One of each kind of thing that a layer may hold and a careless tar library loses. */
const exotic: Sample[] = [
  sample('folder/', { type: 'directory', mode: 0o1777 }),
  sample('empty'),
  sample('all-bytes', { content: everyByte, mode: 0o4755 }),
  sample('block', { content: 'x'.repeat(512) }),
  sample('big-owner', { uid: 4_000_000_000, gid: 3_000_000 }),
  sample('far-future', { mtime: 10_000_000_000 }),
  sample('before-1970', { mtime: -86_400 }),
  sample('capable', { xattrs: new Map([['security.capability', capability]]) }),
  sample('attributes', {
    xattrs: new Map([
      ['user.bytes', everyByte],
      ['user.empty', ''],
      ['user.lines', 'a=b\nc=d\n'],
    ]),
  }),
  sample(encodeName('é-ünïcode-\u{1f525}')),
  sample(latin([0x66, 0xff, 0xfe, 0x80])),
  sample(`${'long/'.repeat(30)}name`, { content: 'deep' }),
  sample(encodeName('é'.repeat(120))),
  sample('soft', { type: 'symlink', mode: 0o777, linkname: '../up' }),
  sample('soft-long', { type: 'symlink', mode: 0o777, linkname: 'x'.repeat(300) }),
  sample('soft-bytes', { type: 'symlink', mode: 0o777, linkname: latin([0xff, 0x2f, 0xfe]) }),
  sample('hard', { type: 'link', linkname: 'all-bytes', mode: 0o4755 }),
  sample('null', { type: 'character', device: { major: 1, minor: 3 } }),
  sample('disk', { type: 'block', device: { major: 259, minor: 70_000 } }),
  sample('pipe', { type: 'fifo' }),
]

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'kiln-tar-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Lists a tar with Python's tarfile, names and values as escaped bytes. */
const listing = `
import json, sys, tarfile
out = []
esc = lambda text: text.encode('utf-8', 'surrogateescape').hex()
with tarfile.open(sys.argv[1], 'r:', encoding='utf-8', errors='surrogateescape') as tar:
    for one in tar:
        xattrs = {k[13:]: esc(v) for k, v in one.pax_headers.items() if k.startswith('SCHILY.xattr.')}
        body = tar.extractfile(one).read().hex() if one.isreg() else ''
        out.append([esc(one.name), one.type.decode(), one.mode, one.uid, one.gid, int(one.mtime),
                    esc(one.linkname), one.devmajor, one.devminor, xattrs, body])
print(json.dumps(out))
`
const flags: Record<TarType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
}
const hex = (text: string) => Buffer.from(text, 'latin1').toString('hex')

function asPythonLists(one: Sample): unknown[] {
  return [
    hex(one.name.replace(/\/$/, '')),
    flags[one.type],
    one.mode,
    one.uid,
    one.gid,
    one.mtime,
    hex(one.linkname),
    one.device.major,
    one.device.minor,
    Object.fromEntries([...one.xattrs].map(([key, value]) => [key, hex(value)])),
    hex(one.content),
  ]
}

test('what was written is read back, byte for byte', async () => {
  expect(await samplesOf(await tarOf(exotic))).toEqual(exotic)
})

test('python reads from our tar what we wrote', async () => {
  const path = join(folder(), 'ours.tar')
  writeFileSync(path, await tarOf(exotic))
  const listed: unknown = JSON.parse(
    execFileSync('python3', ['-c', listing, path], { encoding: 'utf8' }),
  )
  expect(listed).toEqual(exotic.map(asPythonLists))
})

test('GNU tar extracts our tar and packs the same again', async () => {
  const at = folder()
  const entries = exotic.filter(({ name }) => !name.startsWith('long/') && name !== 'attributes')
  writeFileSync(join(at, 'ours.tar'), await tarOf(entries))
  mkdirSync(join(at, 'out'))
  const gnu = (...args: string[]) =>
    execFileSync('tar', args, { cwd: at, env: { LC_ALL: 'C', PATH: process.env['PATH'] } })
  gnu('-xpf', 'ours.tar', '-C', 'out', '--numeric-owner', '--xattrs', '--xattrs-include=security.*')
  for (const format of ['gnu', 'pax']) {
    gnu(
      '-cf',
      'theirs.tar',
      '-C',
      'out',
      `--format=${format}`,
      '--numeric-owner',
      '--no-recursion',
      ...(format === 'pax' ? ['--xattrs', '--xattrs-include=security.*'] : []),
      '--verbatim-files-from',
      '--null',
      '-T',
      namesFile(at, entries),
    )
    const bytes = execFileSync('cat', ['theirs.tar'], { cwd: at })
    const expected = entries.map((one) => (format === 'pax' ? one : { ...one, xattrs: new Map() }))
    expect(await samplesOf(bytes)).toEqual(expected)
  }
})

function namesFile(at: string, entries: readonly Sample[]): string {
  const path = join(at, 'names')
  writeFileSync(path, Buffer.from(entries.map(({ name }) => `${name}\0`).join(''), 'latin1'))
  return path
}

const formats = ['ustar', 'gnu', 'pax'] as const

test.each(formats)('reads a tree that GNU tar packed as %s', async (format) => {
  const at = folder()
  mkdirSync(join(at, 'tree/a/b'), { recursive: true })
  writeFileSync(join(at, 'tree/a/b/file'), 'hello')
  writeFileSync(join(at, `tree/a/${'n'.repeat(90)}`), 'long')
  utimesSync(join(at, 'tree/a/b/file'), 1, 1_600_000_000.75)
  linkSync(join(at, 'tree/a/b/file'), join(at, 'tree/z'))
  symlinkSync('a/b', join(at, 'tree/link'))
  execFileSync('tar', ['-cf', 'theirs.tar', `--format=${format}`, '--sort=name', 'tree'], {
    cwd: at,
  })
  const found = await samplesOf(execFileSync('cat', ['theirs.tar'], { cwd: at }))
  expect(found.map(({ name, type, content, linkname }) => [name, type, content, linkname])).toEqual(
    [
      ['tree/', 'directory', '', ''],
      ['tree/a/', 'directory', '', ''],
      ['tree/a/b/', 'directory', '', ''],
      ['tree/a/b/file', 'file', 'hello', ''],
      [`tree/a/${'n'.repeat(90)}`, 'file', 'long', ''],
      ['tree/link', 'symlink', '', 'a/b'],
      ['tree/z', 'link', '', 'tree/a/b/file'],
    ],
  )
  expect(found[3]?.mtime).toBe(1_600_000_000)
})

const writing = `
import io, json, sys, tarfile
shape = {'ustar': tarfile.USTAR_FORMAT, 'gnu': tarfile.GNU_FORMAT, 'pax': tarfile.PAX_FORMAT}[sys.argv[2]]
out = tarfile.open(sys.argv[1], 'w', format=shape, encoding='utf-8', errors='surrogateescape')
raw = lambda text: bytes.fromhex(text).decode('utf-8', 'surrogateescape')
for name, flag, mode, uid, gid, mtime, link, major, minor, xattrs, body in json.load(sys.stdin):
    one = tarfile.TarInfo(raw(name)); one.type = flag.encode(); one.mode = mode
    one.uid = uid; one.gid = gid; one.mtime = mtime; one.linkname = raw(link)
    one.devmajor = major; one.devminor = minor; one.size = len(body) // 2
    if shape == tarfile.PAX_FORMAT:
        one.pax_headers = {'SCHILY.xattr.' + k: raw(v) for k, v in xattrs.items()}
    out.addfile(one, io.BytesIO(bytes.fromhex(body)))
out.close()
`

test.each(['gnu', 'pax'])('reads what python packed as %s', async (format) => {
  const path = join(folder(), 'theirs.tar')
  const entries = exotic.map((one) => (format === 'gnu' ? { ...one, xattrs: new Map() } : one))
  const input = JSON.stringify(entries.map(asPythonLists))
  execFileSync('python3', ['-c', writing, path, format], { input })
  expect(await samplesOf(execFileSync('cat', [path]))).toEqual(entries)
})

const bytesOf = (most: number) =>
  fc.uint8Array({ maxLength: most }).map((bytes) => latin([...bytes]))
const nameOf = fc
  .uint8Array({ minLength: 1, maxLength: 250 })
  .map((bytes) => latin([...bytes]).replace(/[\0/]/g, 'x'))
const number = (most: number) => fc.integer({ min: 0, max: most })
const anyFile = fc
  .record({
    name: nameOf,
    mode: number(0o7777),
    uid: number(2 ** 32 - 1),
    gid: number(2 ** 32 - 1),
    mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    content: bytesOf(1100),
    xattrs: fc
      .dictionary(fc.stringMatching(/^user\.[a-z]{1,8}$/), bytesOf(600), { maxKeys: 3 })
      .map((entries) => new Map(Object.entries(entries))),
  })
  .map(({ name, ...more }) => sample(name, more))

test('any file comes back as it was, in chunks of any size', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyFile, { maxLength: 5 }), number(700), async (entries, size) => {
      const bytes = await tarOf(entries)
      const again = await collect(chunked(bytes, size + 1))
      expect(await samplesOf(again)).toEqual(entries)
    }),
    { numRuns: 150 },
  )
})

test('a changed byte in a header is refused', async () => {
  const bytes = await tarOf([sample('file', { content: 'content' })])
  await fc.assert(
    fc.asyncProperty(number(511), number(254), async (at, change) => {
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ (change + 1)
      // Of a checksum's eight bytes some may be spaces or NULs alike; elsewhere the sum must find it.
      if (at >= 148 && at < 156) return
      await expect(samplesOf(flipped)).rejects.toMatchObject({ code: 'invalid_archive' })
    }),
    { numRuns: 300 },
  )
})

test('every name has a text of its own that turns back into it', () => {
  fc.assert(
    fc.property(bytesOf(40), (name) => {
      expect(unescapeName(escapeName(name))).toBe(name)
      // oxlint-disable-next-line no-control-regex
      expect(escapeName(name)).not.toMatch(/[\u0000-\u001f]/)
    }),
    { numRuns: 500 },
  )
  expect(escapeName(encodeName('é\\n'))).toBe('é\\\\n')
  expect(escapeName(latin([0xff, 0x0a]))).toBe('\\xff\\x0a')
})
