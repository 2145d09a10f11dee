import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Git } from '../../src/source/git.ts'
import { createMirror } from '../../src/source/mirror.ts'
import { parseRepository } from '../../src/source/repository.ts'
import { gitAtHand, makeRepository, type GitAtHand } from '../source/git-at-hand.ts'
import { workerAtHand } from './worker-log.ts'

/**
 * Threat row 8 and number 20 of docs/bad-input.md: addresses that people type, through the activity that
 * takes them. `test/source/repository.test.ts` says of each form why; redirects, tokens and what git itself
 * refuses stand in `test/source/remote.test.ts` and `private-git.test.ts`, against real servers.
 */
let hand: GitAtHand
let worker: ReturnType<typeof workerAtHand>
beforeAll(async () => {
  hand = await gitAtHand()
  await makeRepository(join(hand.repositories, 'hello'))
})
beforeEach(() => {
  worker = workerAtHand()
})
afterAll(() => hand.close())

const addresses = [
  '',
  'ext::sh -c "touch /tmp/pwned"',
  'ext::sh%20-c%20id',
  'EXT::id',
  'ExT::id',
  'fd::17',
  'file::/etc',
  'transport::address',
  'file:///etc/passwd',
  'file://localhost/etc',
  'FILE:///etc',
  '/etc',
  '../../etc',
  'hello/../../etc',
  '--upload-pack=touch /tmp/pwned',
  '--upload-pack=id',
  '-oProxyCommand=id',
  '-u',
  'ssh://-oProxyCommand=id/x',
  'ssh://git@-oProxyCommand=id/x',
  'git@-oProxyCommand=id:x',
  'http://example.org/a',
  'HTTP://example.org/a',
  'git://example.org/a',
  'ftp://example.org/a',
  'gopher://example.org/a',
  'javascript:alert(1)',
  'https://127.0.0.1/a',
  'https://127.1/a',
  'https://0x7f.1/a',
  'https://0x7f000001/a',
  'https://2130706433/a',
  'https://0177.0.0.1/a',
  'https://017700000001/a',
  'https://0/a',
  'https://0.0.0.0/a',
  'https://10.0.0.1/a',
  'https://172.16.0.1/a',
  'https://192.168.0.1/a',
  'https://100.64.0.1/a',
  'https://169.254.169.254/latest/meta-data',
  'https://[::1]/a',
  'https://[::]/a',
  'https://[::ffff:127.0.0.1]/a',
  'https://[::ffff:7f00:1]/a',
  'https://[64:ff9b::7f00:1]/a',
  'https://[2002:7f00:1::]/a',
  'https://[fe80::1]/a',
  'https://[fd00::1]/a',
  'ssh://127.1/a',
  'ssh://0x7f.1/a',
  'ssh://2130706433/a',
  'git@127.1:a',
  'git@[::1]:a',
  'https://localhost/a',
  'https://localhost./a',
  'https://example.org./a',
  'https://kiln.internal/a',
  'https://intranet/a',
  'https://user@example.org/a',
  'https://user:pass@example.org/a',
  'https://example.org@127.0.0.1/a',
  'https://example.org\\@127.0.0.1/a',
  'https://127.0.0.1#@example.org/a',
  'https://example.org/a#main:subdir',
  'https://example.org/a?ref=main',
  'https://example.org/a/../../b',
  'https://example.org/%2e%2e/b',
  'https://example.org/a b',
  'https://example.org/a\nb',
  'https://example.org/a\0b',
  'https://ex\u0430mple.org/a',
  'https://example。org/a',
  'https://example.org:0/a',
  'https://example.org:65536/a',
  `https://example.org/${'a'.repeat(3000)}`,
]

test.each(addresses)('8 %j is refused before git is asked', async (repository) => {
  await worker.refused('invalid_repository', 'refused', () =>
    hand.activities.resolveSource({ repository, revision: 'main' }),
  )
  expect(await readdir(hand.root)).toEqual(['repositories'])
})

test.each([
  'main:subdir',
  'main#subdir',
  '--upload-pack=id',
  '-',
  'HEAD',
  'main..other',
  'refs/../main',
  'main^{/x}',
  'main@{1}',
  'a\nb',
  'abc123',
  'A'.repeat(40),
])('8 the revision %j is refused or is no branch', async (revision) => {
  const repository = join(hand.repositories, 'hello')
  const attempt = () => hand.activities.resolveSource({ repository, revision })
  // git lets a branch be called so.
  const isName = /^[\w#]+$/.test(revision) && revision !== 'HEAD'
  const [code, reason] = isName
    ? (['commit_not_found', 'no branch'] as const)
    : (['invalid_input', 'not a commit or a branch'] as const)
  await worker.refused(code, reason, attempt)
  expect(await readdir(hand.root)).toEqual(['repositories'])
})

test('8 a name that leads elsewhere the second time is not followed there', async () => {
  const answers = [['8.8.8.8'], ['10.0.0.1'], ['8.8.8.8', '127.0.0.1'], ['::ffff:10.0.0.1']]
  const connected: (string | null | undefined)[] = []
  const git: Git = {
    async text(args, { remote }) {
      if (args[0] === 'ls-remote') connected.push(remote?.address)
      if (args[0] === 'fetch') connected.push(remote?.address)
      return `${'a'.repeat(40)}\trefs/heads/main\n`
    },
    stream: () => {
      throw new Error('nothing is read')
    },
  }
  const mirror = createMirror({
    git,
    folder: join(hand.root, 'flip'),
    resolve: async () => answers.shift() ?? [],
    proxied: false,
    now: () => new Date(),
  })
  const repository = parseRepository('https://example.org/a', {
    allowedPaths: [],
    allowedHosts: [],
  })
  const { signal } = new AbortController()
  await mirror.heads(repository, signal)
  for (let round = 0; round < 3; round += 1) {
    await worker.refused('invalid_repository', 'which is not public', () =>
      mirror.fetchCommit(repository, 'a'.repeat(40), signal),
    )
  }
  expect(connected).toEqual(['8.8.8.8'])
})

test('8 others keep working: a good repository is read all the while', async () => {
  const repository = join(hand.repositories, 'hello')
  const wanted = await worker.run(() =>
    hand.activities.resolveSource({ repository, revision: 'main' }),
  )
  const bad = addresses.map((one) =>
    worker.run(() => hand.activities.resolveSource({ repository: one, revision: 'main' })),
  )
  const good = Array.from({ length: 3 }, () =>
    worker.run(() => hand.activities.resolveSource({ repository, revision: 'main' })),
  )
  const refused = await Promise.allSettled(bad)
  expect(refused.filter(({ status }) => status === 'rejected')).toHaveLength(addresses.length)
  for (const found of await Promise.all(good)) expect(found).toEqual(wanted)
})
