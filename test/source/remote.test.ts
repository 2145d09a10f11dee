import { readFile, readdir } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createGit, type Git } from '../../src/source/git.ts'
import { createMirror } from '../../src/source/mirror.ts'
import { gitAtHand, makeRepository, type GitAtHand } from './git-at-hand.ts'

let hand: GitAtHand
let git: Git
let server: Server
let port = 0
let commit = ''
const asked: string[] = []

/** An https server with git's own http-backend behind it, under a name that no DNS knows. */
beforeAll(async () => {
  hand = await gitAtHand()
  commit = await makeRepository(join(hand.repositories, 'hello'), { 'a.txt': 'a' })
  const [key, certificate] = [join(hand.root, 'key.pem'), join(hand.root, 'cert.pem')]
  const subject = ['-subj', '/CN=git.example.org', '-addext', 'subjectAltName=DNS:git.example.org']
  const options = [
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '30',
    '-keyout',
    key,
    '-out',
    certificate,
  ]
  await execa('openssl', ['req', '-x509', ...options, ...subject])
  const tls = { key: await readFile(key), cert: await readFile(certificate) }
  server = createServer(tls, (request, response) => {
    asked.push(request.url ?? '')
    answer(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
  git = createGit({
    environment: { PATH: process.env['PATH'] ?? '', HOME: hand.root, GIT_SSL_CAINFO: certificate },
    maxPackBytes: 100_000_000,
    timeoutMs: 30_000,
  })
})
beforeEach(() => {
  asked.length = 0
})
afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await hand.close()
})

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://git.example.org')
  const [, first = ''] = url.pathname.split('/')
  if (first === 'away') {
    const location = `https://git.example.org:${port}${url.pathname.slice(5)}${url.search}`
    response.writeHead(302, { location }).end()
  } else if (first === 'private') {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
  } else if (first === 'broken') {
    response.writeHead(503).end()
  } else await backend(request, response, url)
}

async function backend(request: IncomingMessage, response: ServerResponse, url: URL) {
  const input: Buffer[] = []
  for await (const chunk of request) input.push(chunk as Buffer)
  const { stdout } = await execa('git', ['http-backend'], {
    encoding: 'buffer',
    reject: false,
    stripFinalNewline: false,
    input: Buffer.concat(input),
    env: {
      GIT_PROJECT_ROOT: hand.repositories,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      PATH_INFO: url.pathname.replace('/hello', '/hello/.git'),
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? '',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      CONTENT_LENGTH: String(Buffer.concat(input).length),
    },
  })
  const body = Buffer.from(stdout)
  const end = body.indexOf('\r\n\r\n')
  for (const line of body.toString('latin1', 0, end).split('\r\n')) {
    const [name = '', value = ''] = line.split(': ')
    if (name === 'Status') response.statusCode = Number(value.slice(0, 3))
    else response.setHeader(name, value)
  }
  response.end(body.subarray(end + 4))
}

const remoteAt = (path: string) => ({
  address: '127.0.0.1',
  repository: {
    kind: 'https' as const,
    url: `https://git.example.org:${port}/${path}`,
    host: 'git.example.org',
    port,
    named: false,
  },
})

const signal = new AbortController().signal

const heads = (path: string) => {
  const remote = remoteAt(path)
  return git.text(['ls-remote', '--end-of-options', remote.repository.url], { remote, signal })
}

test('git connects to the address that was checked, whatever the name leads to', async () => {
  expect(await heads('hello')).toContain(`${commit}\trefs/heads/main`)
})

test('a commit is fetched by its id over https', async () => {
  const folder = join(hand.root, 'fetched.git')
  const remote = remoteAt('hello')
  await git.text(['init', '--quiet', '--bare', folder], { signal })
  const args = ['fetch', '--quiet', '--depth=1', '--end-of-options', remote.repository.url, commit]
  await git.text(args, { folder, remote, signal })
  expect(await git.text(['cat-file', '-t', commit], { folder, signal })).toBe('commit\n')
})

test('a name that leads to a private address is asked for nothing', async () => {
  const mirror = createMirror({
    git,
    folder: join(hand.root, 'https'),
    resolve: async () => ['127.0.0.1'],
    proxied: false,
    now: () => new Date(),
  })
  await expect(mirror.fetchCommit(remoteAt('hello').repository, commit, signal)).rejects.toThrow(
    'which is not public',
  )
  expect(asked).toEqual([])
})

test('redirects are not followed', async () => {
  await expect(heads('away/hello')).rejects.toMatchObject({ code: 'fetch_failed' })
  expect(asked).toEqual(['/away/hello/info/refs?service=git-upload-pack'])
})

test('a repository that wants a password is not for us; one that is out of order may come back', async () => {
  await expect(heads('private/hello')).rejects.toMatchObject({ code: 'invalid_repository' })
  await expect(heads('broken/hello')).rejects.toMatchObject({
    code: 'repository_unavailable',
    retryable: true,
  })
  await expect(heads('nothing')).rejects.toMatchObject({ code: 'invalid_repository' })
})

test.each([
  ['a remote helper', (trap: string) => `ext::touch ${trap}`],
  ['a file', (_trap: string) => join(hand.repositories, 'hello')],
  ['plain http', (_trap: string) => `http://127.0.0.1:${port}/hello`],
])(
  'git itself refuses %s where https was meant, should the address have passed',
  async (...row) => {
    const trap = join(hand.root, 'trap')
    const url = row[1](trap)
    const asking = git.text(['ls-remote', '--end-of-options', url], {
      remote: remoteAt('x'),
      signal,
    })
    await expect(asking).rejects.toMatchObject({
      lines: [expect.stringMatching(/transport '\w+' not allowed/)],
    })
    expect(await readdir(hand.root)).not.toContain('trap')
  },
)

test('an address that looks like an option is an address', async () => {
  const trap = join(hand.root, 'trap')
  const asking = git.text(['ls-remote', '--end-of-options', `--upload-pack=touch ${trap}`, '.'], {
    remote: remoteAt('x'),
    signal,
  })
  await expect(asking).rejects.toThrow('git ls-remote failed')
  expect(await readdir(hand.root)).not.toContain('trap')
})
