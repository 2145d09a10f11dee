import { chmod, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Access } from '../../src/source/access.ts'
import { createGit } from '../../src/source/git.ts'
import { createMirror } from '../../src/source/mirror.ts'
import { parseRepository, type Repository } from '../../src/source/repository.ts'
import { gitServer, type Asked, type GitServer } from '../helpers/git-server.ts'
import { ownSshd, type OwnSshd } from '../helpers/own-sshd.ts'
import { commitFiles, gitAtHand, makeRepository, person, type GitAtHand } from './git-at-hand.ts'

const signal = new AbortController().signal
const token = 'tok3n-of-a-test+/=0123456789'
let hand: GitAtHand
let sshd: OwnSshd
let server: GitServer
let elsewhere: GitServer
let redirect: string | undefined
let hold: ((asked: Asked) => Promise<void>) | undefined
let accepted = token
let commit = ''
let tokenFile = ''

beforeAll(async () => {
  hand = await gitAtHand()
  commit = await makeRepository(join(hand.repositories, 'hello'), { 'a.txt': 'a' })
  const { repositories } = hand
  sshd = await ownSshd(join(hand.root, 'sshd'))
  server = await gitServer({
    repositories,
    folder: hand.root,
    host: '127.0.0.1',
    password: () => accepted,
    redirect: () => redirect,
    hold: async (asked) => hold?.(asked),
  })
  elsewhere = await gitServer({
    repositories,
    folder: hand.root,
    host: 'localhost',
    password: () => 'nobody knows it',
  })
  const certificates = await Promise.all(
    [server, elsewhere].map((one) => readFile(one.certificate, 'utf8')),
  )
  await writeFile(join(hand.root, 'authorities.pem'), certificates.join(''))
  tokenFile = join(hand.root, 'token')
})
beforeEach(async () => {
  await writeFile(tokenFile, `${token}\n`)
  await chmod(tokenFile, 0o600)
  redirect = undefined
  hold = undefined
  accepted = token
  server.asked.length = 0
  elsewhere.asked.length = 0
})
afterAll(async () => {
  await Promise.all([sshd.close(), server.close(), elsewhere.close()])
  await hand.close()
})

const rules = { allowedPaths: [], allowedHosts: ['127.0.0.1', 'localhost'] }
const sshRepository = () =>
  parseRepository(
    `ssh://${sshd.user}@127.0.0.1:${sshd.port}${join(hand.repositories, 'hello')}`,
    rules,
  )
const httpsRepository = (name = 'hello') =>
  parseRepository(`https://127.0.0.1:${server.port}/${name}/.git`, rules)

function mirrorWith(access: Access, folder = `source-${Math.random()}`) {
  const git = createGit({
    // An agent that nobody answers for: it must not even be asked.
    environment: {
      PATH: process.env['PATH'] ?? '',
      HOME: hand.root,
      SSH_AUTH_SOCK: '/nowhere',
      GIT_SSL_CAINFO: join(hand.root, 'authorities.pem'),
    },
    maxPackBytes: 100_000_000,
    timeoutMs: 30_000,
  })
  return createMirror({
    git,
    folder: join(hand.root, folder),
    resolve: async () => ['127.0.0.1'],
    access: async () => access,
    proxied: false,
    now: () => new Date(),
  })
}

const sshKey = (more: Partial<Extract<Access, { kind: 'ssh-key' }>> = {}): Access => ({
  kind: 'ssh-key',
  keyFile: sshd.key,
  knownHostsFile: sshd.knownHosts,
  ...more,
})
const tokenAccess = (): Access => ({ kind: 'token', user: 'x-access-token', tokenFile })

async function failure(work: Promise<unknown>) {
  return work.then(
    () => ({ code: 'none', message: '', lines: [] as string[], place: '', text: '' }),
    (error: {
      code: string
      message: string
      lines: string[]
      place: string
      cause?: unknown
    }) => ({
      ...error,
      message: error.message,
      text: JSON.stringify([error, error.message, error.lines, String(error.cause)]),
    }),
  )
}

async function fetched(access: Access, repository: Repository): Promise<string> {
  const mirror = mirrorWith(access)
  const folder = await mirror.fetchCommit(repository, commit, signal)
  return readFile(join(folder, 'config'), 'utf8')
}

test('a repository behind ssh is read with its key, from a server that is known', async () => {
  await fetched(sshKey(), sshRepository())
  expect(sshd.log()).toContain('Accepted publickey')
})

test('an address that was looked up is known by the name and port that people write', async () => {
  const repository = {
    kind: 'ssh' as const,
    url: `ssh://${sshd.user}@git.example.org:${sshd.port}${join(hand.repositories, 'hello')}`,
    host: 'git.example.org',
    port: sshd.port,
    named: false,
  }
  const git = createGit({
    environment: { PATH: process.env['PATH'] ?? '' },
    maxPackBytes: 1e8,
    timeoutMs: 30_000,
  })
  const remote = { repository, address: '127.0.0.1', access: sshKey() }
  const heads = await git.text(['ls-remote', '--heads', '--end-of-options', repository.url], {
    remote,
    signal,
  })
  expect(heads).toContain(commit)
})

test('a server with another host key is sent nothing, and the fault says which file pins it', async () => {
  const before = sshd.log().split('Accepted publickey').length
  const told = await failure(fetched(sshKey({ knownHostsFile: sshd.otherHosts }), sshRepository()))
  expect(told).toMatchObject({ code: 'verification_failed', place: sshd.otherHosts })
  expect(told.message).toContain('host key')
  await writeFile(join(hand.root, 'empty-hosts'), '')
  const unknown = await failure(
    fetched(sshKey({ knownHostsFile: join(hand.root, 'empty-hosts') }), sshRepository()),
  )
  expect(unknown).toMatchObject({ code: 'verification_failed' })
  // Nothing is learnt by having seen it.
  expect(await readFile(join(hand.root, 'empty-hosts'), 'utf8')).toBe('')
  expect(sshd.log().split('Accepted publickey')).toHaveLength(before)
})

test('a key that is not let in is told apart, by its file', async () => {
  const told = await failure(fetched(sshKey({ keyFile: sshd.strangerKey }), sshRepository()))
  expect(told).toMatchObject({ code: 'invalid_repository', place: sshd.strangerKey })
  const missing = await failure(fetched(sshKey({ keyFile: '/no/such/key' }), sshRepository()))
  expect(missing).toMatchObject({ code: 'invalid_repository', place: '/no/such/key' })
})

test('a repository behind https is read with a token that stands nowhere but in its file', async () => {
  const config = await fetched(tokenAccess(), httpsRepository())
  expect(config).not.toContain('tok3n')
  expect(server.asked.map(({ authorization }) => authorization)).toContain(
    `Basic ${Buffer.from(`x-access-token:${token}`).toString('base64')}`,
  )
  expect(server.asked.every(({ path }) => !path.includes('tok3n'))).toBe(true)
})

test('while git runs, the token is in no argument and no environment of any process', async () => {
  const seen = new Set<string>()
  hold = async ({ authorization }) => {
    if (authorization === undefined) return
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      for (const file of ['cmdline', 'environ']) {
        const text = await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')
        if (text.includes('tok3n-of-a')) seen.add(`${pid} ${file}`)
        if (text.includes(tokenFile)) seen.add('the control')
      }
    }
  }
  await mirrorWith(tokenAccess()).heads(httpsRepository(), signal)
  expect([...seen]).toEqual(['the control'])
})

test('a token that is not let in is told apart by its file, and appears in no message', async () => {
  accepted = 'another token'
  const told = await failure(fetched(tokenAccess(), httpsRepository()))
  expect(told).toMatchObject({ code: 'invalid_repository', place: tokenFile })
  expect(told.text).not.toContain('tok3n')
  expect(told.text).not.toContain(Buffer.from(`x-access-token:${token}`).toString('base64'))
})

test('a token does not follow a redirect to another server', async () => {
  redirect = `https://localhost:${elsewhere.port}`
  const told = await failure(fetched(tokenAccess(), httpsRepository()))
  expect(elsewhere.asked).toEqual([])
  expect(told.code).toBe('fetch_failed')
})

test.each([
  ['is missing', async () => 'no-such-file'],
  [
    'is empty',
    async () => {
      await writeFile(tokenFile, '\n')
      return 'token'
    },
  ],
  [
    'may be read by everybody',
    async () => {
      await chmod(tokenFile, 0o644)
      return 'token'
    },
  ],
  [
    'holds two lines',
    async () => {
      await writeFile(tokenFile, `${token}\nmore\n`)
      return 'token'
    },
  ],
  ['is a folder', async () => '.'],
])('a token whose file %s is asked for before anybody is', async (_what, prepare) => {
  const file = join(hand.root, await prepare())
  const access: Access = { kind: 'token', user: 'x', tokenFile: file }
  const told = await failure(fetched(access, httpsRepository()))
  expect(told).toMatchObject({ code: 'prerequisite_missing', place: file })
  expect(told.text).not.toContain('tok3n')
  expect(server.asked).toEqual([])
})

test('a commit that only a pull request holds is not taken, though the server gives it out', async () => {
  const path = join(hand.repositories, 'proposed')
  const first = await makeRepository(path, { 'a.txt': 'a' })
  const second = await commitFiles(path, { 'a.txt': 'b' })
  await person(path, 'tag', 'v1', first)
  await person(path, 'checkout', '--quiet', '--detach')
  const proposed = await commitFiles(path, { 'evil.txt': 'x' })
  await person(path, 'update-ref', 'refs/pull/7/head', proposed)
  await person(path, 'checkout', '--quiet', 'main')
  const mirror = mirrorWith(tokenAccess())
  const repository = httpsRepository('proposed')
  // The control: the server itself would give it.
  await mirrorWith(tokenAccess()).fetchCommit(repository, proposed, signal)
  await expect(mirror.checkReached(repository, proposed, signal)).rejects.toMatchObject({
    code: 'commit_not_found',
    message: expect.stringContaining('on no branch'),
  })
  await mirror.checkReached(repository, second, signal)
  await mirror.checkReached(repository, first, signal)
  const reaches = (sha: string, branches: string[]) =>
    mirror.reaches(repository, { commit: sha, branches }, signal)
  expect(await reaches(first, ['main'])).toBe(true)
  expect(await reaches(proposed, ['main'])).toBe(false)
  expect(await reaches(first, ['no-such'])).toBe(false)
  expect(await reaches('0'.repeat(40), ['main'])).toBe(false)
})

test('the activity refuses a commit that was only proposed, and takes one that is on record', async () => {
  const path = join(hand.repositories, 'asked')
  await makeRepository(path)
  await person(path, 'checkout', '--quiet', '--detach')
  const proposed = await commitFiles(path, { 'evil.txt': 'x' })
  await person(path, 'update-ref', 'refs/pull/8/head', proposed)
  await person(path, 'checkout', '--quiet', 'main')
  const ask = (recorded?: boolean) =>
    hand.activities.resolveSource({
      repository: path,
      revision: proposed,
      ...(recorded === undefined ? {} : { recorded }),
    })
  await expect(ask()).rejects.toMatchObject({ code: 'commit_not_found' })
  expect((await ask(true)).source.commit).toBe(proposed)
  const input = { repository: path, branches: ['main'], commit: proposed }
  expect(await hand.activities.isOnBranch(input)).toBe(false)
})
