import { chmod, mkdir, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import { readTar } from '../../src/oci/tar-reader.ts'
import { createMirror } from '../../src/source/mirror.ts'
import { parseRepository } from '../../src/source/repository.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { commitFiles, gitAtHand, makeRepository, person, type GitAtHand } from './git-at-hand.ts'

let hand: GitAtHand
let repository: string

beforeEach(async () => {
  hand = await gitAtHand()
  repository = join(hand.repositories, 'hello')
})
afterEach(() => hand.close())

/** What stands in a context, by name: mode and content, or the link's target. */
async function contextOf(digest: Digest): Promise<Record<string, string>> {
  const content = await hand.store.readBlob(digest)
  const found: Record<string, string> = {}
  for await (const { entry, body } of readTar(content ?? (async function* () {})())) {
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    const text =
      entry.type === 'symlink' ? `-> ${entry.linkname}` : Buffer.concat(chunks).toString()
    if (entry.type !== 'directory') found[entry.name] = `${entry.mode.toString(8)} ${text}`
  }
  return found
}

async function jsonAt(digest: Digest | undefined): Promise<unknown> {
  const bytes = digest === undefined ? undefined : await hand.store.get(blobKey(digest))
  return JSON.parse(Buffer.from(bytes ?? []).toString())
}

test('a commit becomes facts, a context, definitions and a pipeline; again gives the same', async () => {
  await mkdir(repository)
  await writeFile(join(repository, 'run.sh'), '#!/bin/sh\n')
  await chmod(join(repository, 'run.sh'), 0o755)
  await symlink('run.sh', join(repository, 'link'))
  const commit = await makeRepository(repository, { 'src/a.txt': 'a\r\n' })
  const found = await hand.activities.resolveSource({ repository, revision: 'main' })
  expect(found).toMatchObject({
    app: 'hello',
    template: 'node-service',
    source: { repository, commit, committedAt: 1767225600, subject: 'a commit' },
    pipeline: [
      { environment: 'dev', instances: { min: 1, max: 1 }, automatic: true },
      { environment: 'prod', instances: { min: 2, max: 4 }, automatic: false },
    ],
  })
  expect(found.source.tree).toBe(await person(repository, 'rev-parse', 'HEAD^{tree}'))
  expect(await contextOf(found.context)).toMatchObject({
    'src/a.txt': '644 a\r\n',
    'run.sh': '755 #!/bin/sh\n',
    link: '777 -> run.sh',
  })
  expect(await jsonAt(found.pipeline[1]?.definition)).toMatchObject({
    environment: 'prod',
    port: 8080,
    resources: { memoryMb: 256, cpus: 0.5, pids: 128 },
  })
  expect(await jsonAt(found.specification)).toMatchObject({ app: 'hello', version: 1 })
  const again = await hand.activities.resolveSource({ repository, revision: commit })
  expect(again).toEqual(found)
})

test('attributes in the repository change nothing of what is exported', async () => {
  await makeRepository(repository, {
    '.gitattributes': '*.txt export-subst eol=crlf\nsecret.txt export-ignore\n*.bin filter=lfs\n',
    'version.txt': '$Format:%H$\n',
    'secret.txt': 'here\n',
    'a.bin': 'version https://git-lfs.github.com/spec/v1\n',
  })
  const found = await hand.activities.resolveSource({ repository, revision: 'main' })
  expect(await contextOf(found.context)).toMatchObject({
    'version.txt': '644 $Format:%H$\n',
    'secret.txt': '644 here\n',
    'a.bin': '644 version https://git-lfs.github.com/spec/v1\n',
  })
})

test('only what is committed counts, not the working copy', async () => {
  await makeRepository(repository, { 'a.txt': 'committed' })
  await writeFile(join(repository, 'a.txt'), 'changed')
  await writeFile(join(repository, 'new.txt'), 'new')
  const found = await hand.activities.resolveSource({ repository, revision: 'main' })
  const context = await contextOf(found.context)
  expect(context['a.txt']).toBe('644 committed')
  expect(context['new.txt']).toBeUndefined()
})

test('hooks and settings of the repository run nothing', async () => {
  await makeRepository(repository)
  const trap = join(hand.root, 'trap')
  for (const name of [
    'post-checkout',
    'pre-auto-gc',
    'post-upload-pack',
    'reference-transaction',
  ]) {
    await writeFile(join(repository, '.git/hooks', name), `#!/bin/sh\ntouch ${trap}\n`)
    await chmod(join(repository, '.git/hooks', name), 0o755)
  }
  await person(repository, 'config', 'uploadpack.packObjectsHook', `touch ${trap};`)
  await person(repository, 'config', 'core.fsmonitor', `touch ${trap}`)
  await person(repository, 'config', 'core.sshCommand', `touch ${trap}`)
  await hand.activities.resolveSource({ repository, revision: 'main' })
  expect(await readdir(hand.root)).not.toContain('trap')
})

test('a commit, a branch and a repository that do not exist are told apart', async () => {
  await makeRepository(repository)
  const resolve = (revision: string, address = repository) =>
    hand.activities.resolveSource({ repository: address, revision })
  await expect(resolve('0'.repeat(40))).rejects.toMatchObject({ code: 'commit_not_found' })
  await expect(resolve('no-such')).rejects.toMatchObject({ code: 'commit_not_found' })
  const tree = await person(repository, 'rev-parse', 'HEAD^{tree}')
  await expect(resolve(tree)).rejects.toMatchObject({ code: 'commit_not_found' })
  await expect(resolve('main', `${repository}-none`)).rejects.toMatchObject({
    code: 'invalid_repository',
  })
  await mkdir(`${repository}-empty`)
  await expect(resolve('main', `${repository}-empty`)).rejects.toMatchObject({
    code: 'invalid_repository',
  })
})

test('an older commit is found, also where the server gives out no commits by id', async () => {
  const first = await makeRepository(repository, { 'a.txt': '1' })
  await commitFiles(repository, { 'a.txt': '2' })
  const found = await hand.activities.resolveSource({ repository, revision: first })
  expect((await contextOf(found.context))['a.txt']).toBe('644 1')
  const asked: string[] = []
  const old = createMirror({
    folder: join(hand.root, 'old'),
    resolve: async () => [],
    proxied: false,
    now: () => new Date(),
    git: {
      text: (args, run) => {
        asked.push(args[0] ?? '')
        return hand.git.text(['-c', 'protocol.version=0', ...args], run)
      },
      stream: (args, run) => hand.git.stream(args, run),
    },
  })
  const address = parseRepository(repository, { allowedPaths: [repository], allowedHosts: [] })
  await old.fetchCommit(address, first, new AbortController().signal)
  expect(asked.filter((one) => one === 'fetch')).toHaveLength(2)
})

test('submodules are refused by name', async () => {
  const other = join(hand.repositories, 'other')
  const commit = await makeRepository(other)
  await makeRepository(repository)
  await person(repository, 'update-index', '--add', '--cacheinfo', `160000,${commit},lib/other`)
  await person(repository, 'commit', '--quiet', '--message', 'a submodule')
  await expect(
    hand.activities.resolveSource({ repository, revision: 'main' }),
  ).rejects.toMatchObject({ code: 'invalid_repository', place: 'entry lib/other' })
})

test.each([
  ['a link out of the tree', '../../etc/passwd'],
  ['an absolute link', '/etc/passwd'],
])('%s is refused', async (_what, target) => {
  await mkdir(repository)
  await symlink(target, join(repository, 'out'))
  await makeRepository(repository)
  await expect(
    hand.activities.resolveSource({ repository, revision: 'main' }),
  ).rejects.toMatchObject({ code: 'invalid_archive' })
})

test('kiln.yaml must be a file at the top, and is read from the commit', async () => {
  await makeRepository(repository)
  await rm(join(repository, 'kiln.yaml'))
  await commitFiles(repository, { 'other.txt': '' })
  const resolve = () => hand.activities.resolveSource({ repository, revision: 'main' })
  await expect(resolve()).rejects.toMatchObject({ code: 'invalid_yaml', place: 'kiln.yaml' })
  await symlink('other.txt', join(repository, 'kiln.yaml'))
  await commitFiles(repository, {})
  await expect(resolve()).rejects.toMatchObject({ code: 'invalid_yaml', place: 'kiln.yaml' })
  await rm(join(repository, 'kiln.yaml'))
  await commitFiles(repository, { 'kiln.yaml': `# ${'x'.repeat(70_000)}` })
  await expect(resolve()).rejects.toThrow('more than 65536 bytes')
})

test('a path that leads out of the allowed folder by a symlink is refused', async () => {
  await makeRepository(join(hand.root, 'outside'))
  await symlink(join(hand.root, 'outside'), repository)
  await expect(hand.activities.resolveSource({ repository, revision: 'main' })).rejects.toThrow(
    'leads out of the allowed folder',
  )
})

test('many fetches at once, what a killed one left, and a damaged copy', async () => {
  const commit = await makeRepository(repository, { 'a.txt': 'a' })
  const resolve = () => hand.activities.resolveSource({ repository, revision: commit })
  const all = await Promise.all(Array.from({ length: 6 }, resolve))
  expect(new Set(all.map((one) => one.context)).size).toBe(1)
  const [home = ''] = await readdir(hand.folder)
  const left = join(hand.folder, home, 'fetching-killed')
  await mkdir(left)
  expect(await resolve()).toEqual(all[0])
  await hand.mirror.sweep()
  expect(await readdir(join(hand.folder, home))).toEqual([`${commit}.git`])

  const packs = join(hand.folder, home, `${commit}.git/objects/pack`)
  for (const name of await readdir(packs)) {
    if (!name.endsWith('.pack')) continue
    await chmod(join(packs, name), 0o600)
    await writeFile(join(packs, name), 'damaged')
  }
  expect(await resolve()).toEqual(all[0])
})

/** What is kept of a commit of this number. */
function kept(n: number): string {
  return `${n.toString(16).padStart(40, '0')}.git`
}

test('only so many commits of a repository are kept: those that were used last', async () => {
  const first = await makeRepository(repository, { 'a.txt': '0' })
  await hand.activities.resolveSource({ repository, revision: first })
  const [home = ''] = await readdir(hand.folder)
  for (let n = 0; n < 22; n++) {
    const at = join(hand.folder, home, kept(n))
    await mkdir(at)
    const then = new Date(1_700_000_000_000 + n * 1000)
    await utimes(at, then, then)
  }
  const second = await commitFiles(repository, { 'a.txt': '1' })
  await hand.activities.resolveSource({ repository, revision: second })
  const names = await readdir(join(hand.folder, home))
  expect(names).toHaveLength(20)
  expect(names).toEqual(expect.arrayContaining([`${first}.git`, `${second}.git`, kept(21)]))
  expect(names).not.toContain(kept(3))
})

test('a repository that is larger than allowed is refused and leaves nothing', async () => {
  const small = await gitAtHand({ maxPackBytes: 200_000 })
  try {
    const at = join(small.repositories, 'big')
    const noise = Array.from({ length: 60_000 }, () => Math.random().toString(36)).join('')
    await makeRepository(at, { 'noise.txt': noise })
    await expect(
      small.activities.resolveSource({ repository: at, revision: 'main' }),
    ).rejects.toMatchObject({
      code: 'invalid_repository',
      message: expect.stringContaining('larger') as string,
    })
    const [home = ''] = await readdir(small.folder)
    expect(await readdir(join(small.folder, home))).toEqual([])
  } finally {
    await small.close()
  }
})

test('work stops when it is cancelled', async () => {
  await makeRepository(repository)
  hand.abort()
  await expect(
    hand.activities.resolveSource({ repository, revision: 'main' }),
  ).rejects.toMatchObject({ name: 'AbortError' })
})

test('heads are read for the branches that are asked for', async () => {
  const commit = await makeRepository(repository)
  await person(repository, 'branch', 'feature/x')
  const heads = await hand.activities.readHeads({ repository })
  expect(heads).toEqual([
    { branch: 'feature/x', commit },
    { branch: 'main', commit },
  ])
  expect(await hand.activities.readHeads({ repository, branches: ['main', 'none'] })).toEqual([
    { branch: 'main', commit },
  ])
})
