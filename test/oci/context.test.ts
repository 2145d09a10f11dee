import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import type { RepackOptions } from '../../src/oci/context.ts'
import { packContext, repackTar } from '../../src/oci/context.ts'
import { encodeName } from '../../src/oci/entry-name.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import {
  chunked,
  collect,
  endOfTar,
  extension,
  sample,
  samplesOf,
  tarOf,
  type Sample,
} from '../helpers/tar.ts'

const mtime = 1_760_000_000

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'kiln-context-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function repack(
  entries: readonly Sample[],
  more: Partial<RepackOptions> = {},
): Promise<Buffer> {
  const options = { mtime, spoolFolder: folder(), ...more }
  return collect(repackTar(chunked(await tarOf(entries)), options))
}

const dir = (name: string) => sample(name, { type: 'directory', mode: 0o700 })
const link = (name: string, linkname: string) =>
  sample(name, { type: 'symlink', linkname: encodeName(linkname) })
const plain = [sample('Dockerfile'), sample('src/one')]

const refused: [string, string, Sample[]][] = [
  ['a way out', 'out of the tree', [sample('../etc/passwd')]],
  ['a way out further down', 'out of the tree', [sample('a/../../b')]],
  ['a second way to one name', 'out of the tree', [sample('x/../Dockerfile')]],
  ['an absolute name', 'absolute', [sample('/etc/passwd')]],
  ['a backslash', 'backslash', [sample('..\\x')]],
  ['a line break in a name', 'control character', [sample('a\nb')]],
  ['a terminal code in a name', 'control character', [sample('a\u001b[2Jb')]],
  ['a dot in the middle', 'roundabout', [sample('a/./b')]],
  ['two slashes', 'roundabout', [sample('a//b')]],
  ['a name of dots', 'roundabout', [sample('././a')]],
  ['a name that is no UTF-8', 'UTF-8', [sample('\xff')]],
  ['a whiteout', 'deletion', [sample('lib/.wh.passwd')]],
  ['two Dockerfiles', 'two entries', [sample('Dockerfile'), sample('Dockerfile')]],
  [
    'two Dockerfiles, one with a dot',
    'two entries',
    [sample('Dockerfile'), sample('./Dockerfile')],
  ],
  ['one folder twice', 'two entries', [dir('a/'), dir('a/')]],
  ['a folder and a file', 'folder as well', [sample('a/b'), sample('a')]],
  ['a file and a folder', 'no folder', [sample('a'), sample('a/b')]],
  ['names that differ in case', 'only in case', [sample('README'), sample('readme')]],
  ['folders that differ in case', 'only in case', [sample('Lib/a'), sample('lib/b')]],
  [
    'names that differ in Unicode form',
    'Unicode form',
    [sample(encodeName('\u00e9')), sample(encodeName('e\u0301'))],
  ],
  ['a hard link', 'hard links', [sample('a'), sample('b', { type: 'link', linkname: 'a' })]],
  ['a hard link out', 'hard links', [sample('b', { type: 'link', linkname: '../../etc/passwd' })]],
  [
    'a character device',
    'not taken',
    [sample('null', { type: 'character', device: { major: 1, minor: 3 } })],
  ],
  [
    'a block device',
    'not taken',
    [sample('disk', { type: 'block', device: { major: 8, minor: 0 } })],
  ],
  ['a fifo', 'not taken', [sample('pipe', { type: 'fifo' })]],
  ['a link to an absolute path', 'out of the tree', [link('l', '/etc/passwd')]],
  ['a link out', 'out of the tree', [link('a/l', '../../x')]],
  [
    'a link out through a link',
    'out of the tree',
    [link('up', 'a/b'), link('a/b', '..'), link('l', 'a/b/../x')],
  ],
  ['a link to itself', 'in circles', [link('l', 'l')]],
  ['links in a circle', 'in circles', [link('a', 'b'), link('b', 'a')]],
  ['a file written through a link', 'no folder', [dir('d/'), link('l', 'd'), sample('l/file')]],
  ['a name too long', 'above 255', [sample('x'.repeat(256))]],
  ['folders too deep', 'folders deep', [sample(`${'d/'.repeat(100)}f`)]],
]

test.each(refused)('refuses %s and names the entry', async (_what, message, entries) => {
  const others = plain.filter(({ name }) => !entries.some((one) => one.name === name))
  await expect(repack([...others, ...entries])).rejects.toMatchObject({
    code: 'invalid_archive',
    message: expect.stringContaining(message) as string,
    // oxlint-disable-next-line no-control-regex
    place: expect.stringMatching(/^entry [^\u0000-\u001f]+$/) as string,
  })
})

test('the place is the entry that is at fault', async () => {
  const entries = [...plain, sample('x/../Dockerfile'), sample('z')]
  await expect(repack(entries)).rejects.toHaveProperty('place', 'entry x/../Dockerfile')
})

test('refuses bytes after the end, a socket and a sparse file as the reader does', async () => {
  const good = await tarOf(plain)
  const options = { mtime, spoolFolder: folder() }
  const more = Buffer.concat([good, await tarOf([sample('Dockerfile', { content: 'FROM evil' })])])
  await expect(collect(repackTar(oneChunk(more), options))).rejects.toThrow('bytes after its end')
  const sparse = Buffer.concat([
    extension('x', '22 GNU.sparse.major=1\n'),
    good.subarray(0, 512),
    endOfTar,
  ])
  await expect(collect(repackTar(oneChunk(sparse), options))).rejects.toThrow('does not know')
})

test('nothing is given out of an archive that is refused at its end, and no file stays behind', async () => {
  const spoolFolder = folder()
  const given: Uint8Array[] = []
  const entries = [...plain, sample('../late')]
  const run = async () => {
    for await (const bytes of repackTar(oneChunk(await tarOf(entries)), { mtime, spoolFolder }))
      given.push(bytes)
  }
  await expect(run()).rejects.toThrow('out of the tree')
  expect(given).toEqual([])
  expect(readdirSync(spoolFolder)).toEqual([])
})

test("keeps git's modes only, one owner, one time, and names every folder", async () => {
  const packed = await samplesOf(
    await repack([
      sample('z/run', { mode: 0o4711, uid: 1000, mtime: 5 }),
      sample('a.txt', { mode: 0o666, content: 'text', xattrs: new Map([['user.x', 'y']]) }),
      link('to', 'z/run'),
    ]),
  )
  expect(packed).toEqual([
    sample('a.txt', { content: 'text', mtime }),
    sample('to', { type: 'symlink', linkname: 'z/run', mode: 0o777, mtime }),
    sample('z/', { type: 'directory', mode: 0o755, mtime }),
    sample('z/run', { mode: 0o755, mtime }),
  ])
})

test('npm packages may hold names that differ in case, and one file can be left out', async () => {
  const entries = [sample('m/A.js'), sample('m/a.js'), sample('m/notes')]
  const packed = await repack(entries, { twins: 'unicode', keep: (path) => path !== 'm/notes' })
  expect((await samplesOf(packed)).map(({ name }) => name)).toEqual(['m/', 'm/A.js', 'm/a.js'])
})

test.each([-1, 2 ** 31, 1.5, Number.NaN])('a commit of time %d cannot be packed', async (time) => {
  await expect(repack(plain, { mtime: time })).rejects.toMatchObject({ code: 'invalid_archive' })
})

test('git archive, GNU tar and python give the same context for one tree', async () => {
  const at = folder()
  const sh = (command: string) => execFileSync('sh', ['-c', command], { cwd: at })
  sh(
    'git init -q . && mkdir -p a/b && echo 1 > a/b/c && echo 2 > a-b && echo 3 > a.b && chmod 755 a-b && ln -s a/b l && git add . && git -c user.name=t -c user.email=t@t.test commit -qm one',
  )
  sh(
    'git archive HEAD > ../git.tar; tar --exclude=./.git -cf ../gnu.tar . ; mv ../git.tar ../gnu.tar . ',
  )
  const python =
    "import tarfile,sys;t=tarfile.open('python.tar','w');[t.add(n) for n in ['l','a.b','a-b','a']]"
  execFileSync('python3', ['-c', `${python};t.close()`], { cwd: at })
  const packed = await Promise.all(
    ['git.tar', 'gnu.tar', 'python.tar'].map((name) =>
      collect(
        repackTar(chunked(execFileSync('cat', [name], { cwd: at })), { mtime, spoolFolder: at }),
      ),
    ),
  )
  expect(packed[1]?.equals(packed[0] ?? Buffer.alloc(0))).toBe(true)
  expect(packed[2]?.equals(packed[0] ?? Buffer.alloc(0))).toBe(true)
})

const part = fc
  .stringMatching(/^[a-z0-9][a-zA-Z0-9é_. -]{0,20}$/)
  .filter((name) => !name.includes('..'))
const anyTree = fc
  .uniqueArray(
    fc.record({
      path: fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
      content: fc.stringMatching(/^[ -~]{0,600}$/),
      mode: fc.constantFrom(0o600, 0o644, 0o755, 0o4755),
    }),
    { selector: ({ path }) => path, maxLength: 8 },
  )
  .map((files) => files.map(({ path, ...more }) => sample(encodeName(path), more)))

test('packing again changes nothing, order and attributes do not matter, and python reads the same', async () => {
  const at = folder()
  const listing =
    'import tarfile,sys,json;print(json.dumps([[[m.name,m.size] for m in tarfile.open(f)] for f in sys.argv[1:]]))'
  const runs = 25
  const packed: Buffer[] = []
  await fc.assert(
    fc.asyncProperty(anyTree, async (entries) => {
      const once = await repack(entries).catch(() => undefined)
      fc.pre(once !== undefined)
      if (once === undefined) return
      const shuffled = entries.toReversed().map((one) => ({ ...one, uid: 7, mtime: 1 }))
      expect((await repack(shuffled)).equals(once)).toBe(true)
      expect((await repack(await samplesOf(once))).equals(once)).toBe(true)
      packed.push(once)
    }),
    { numRuns: runs },
  )
  const files = packed.map((_one, n) => join(at, `${n}.tar`))
  for (const [n, file] of files.entries()) writeFileSync(file, packed[n]!)
  const told = execFileSync('python3', ['-c', listing, ...files], { encoding: 'utf8' })
  const listed = JSON.parse(told) as [string, number][][]
  for (const [n, one] of packed.entries()) {
    const ours = await samplesOf(one)
    expect(listed[n]?.map(([name, size]) => [encodeName(name), size])).toEqual(
      ours.map(({ name, size }) => [name.replace(/\/$/, ''), size]),
    )
  }
  expect(packed).toHaveLength(runs)
})

test('the build context holds the four parts, and what the template did not give is an empty folder', async () => {
  const app = await repack([sample('server.js', { content: 'x' }), link('l', 'server.js')])
  const packed = await collect(
    packContext({
      dockerfile: 'FROM base\n',
      app: chunked(app),
      dependencies: chunked(await repack([sample('node_modules/.bin/x', { mode: 0o755 })])),
      files: null,
      mtime,
    }),
  )
  expect((await samplesOf(packed)).map(({ name, mode }) => [name, mode])).toEqual([
    ['Dockerfile', 0o644],
    ['app/', 0o755],
    ['app/l', 0o777],
    ['app/server.js', 0o644],
    ['deps/', 0o755],
    ['deps/node_modules/', 0o755],
    ['deps/node_modules/.bin/', 0o755],
    ['deps/node_modules/.bin/x', 0o755],
    ['files/', 0o755],
  ])
})

test('a part that cannot be read ends the context with its error', async () => {
  const broken = packContext({
    dockerfile: '',
    app: oneChunk(Buffer.from('no tar')),
    dependencies: null,
    files: null,
    mtime,
  })
  await expect(collect(broken)).rejects.toMatchObject({ code: 'invalid_archive' })
})
