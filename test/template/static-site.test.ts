import { execa } from 'execa'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'

const files = join(import.meta.dirname, '../../templates/static-site/files')
/** 2026-01-01T00:00:00Z: the time of the commit. */
const modified = 1_767_225_600
const css = 'body { margin: 0 }\n'.repeat(100)

const site = {
  'kiln.yaml': 'version: 1',
  '.env': 'DB=secret',
  '.git/config': 'hidden',
  'a b/ü.txt': 'named oddly',
  'docs/.draft.html': 'draft',
  'docs/index.html': '<h1>docs</h1>',
  'empty.txt': '',
  'index.html': '<h1>home</h1>',
  'movie.mp4': '0123456789',
  'style.css': css,
  '.well-known/security.txt': 'Contact: nobody',
}

let folder: string
let server: Serving

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-site-'))
  server = await serve(await prepared('site', site))
})
afterAll(async () => {
  server.child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

async function prepare(name: string, tree: Readonly<Record<string, string>>) {
  const source = join(folder, name, 'source')
  for (const [path, content] of Object.entries(tree)) {
    await mkdir(dirname(join(source, path)), { recursive: true })
    await writeFile(join(source, path), content)
  }
  const target = join(folder, name, 'www')
  await mkdir(target, { recursive: true })
  const env = { SOURCE_DATE_EPOCH: String(modified) }
  const run = () =>
    execa(process.execPath, [join(files, 'prepare.mjs'), source, target], { env, reject: false })
  return { source, target, run }
}

async function prepared(name: string, tree: Readonly<Record<string, string>>): Promise<string> {
  const { run, target } = await prepare(name, tree)
  expect((await run()).stderr).toBe('')
  return target
}

type Serving = { child: ChildProcess; port: number; lines: string[] }

async function serve(www: string): Promise<Serving> {
  const port = await freePort()
  const child = spawn(process.execPath, [join(files, 'server.mjs'), www], {
    env: { PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  child.stdout.on('data', (chunk: Buffer) => lines.push(...chunk.toString().trim().split('\n')))
  await once(child.stdout, 'data')
  return { child, port, lines }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

type Answer = { status: number; headers: Record<string, unknown>; body: Buffer }

/** Asks for the path as it is written: fetch would clean it up first. */
function ask(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request({ port: server.port, path, headers, method, agent: false }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: Buffer.concat(chunks),
        }),
      )
    })
    call.on('error', reject)
    call.end()
  })
}

test.each([
  ['/', 'text/html; charset=utf-8', '<h1>home</h1>'],
  ['/index.html', 'text/html; charset=utf-8', '<h1>home</h1>'],
  ['/docs/', 'text/html; charset=utf-8', '<h1>docs</h1>'],
  ['/style.css?v=1', 'text/css; charset=utf-8', css],
  ['/movie.mp4', 'video/mp4', '0123456789'],
  ['/empty.txt', 'text/plain; charset=utf-8', ''],
  ['/a%20b/%C3%BC.txt', 'text/plain; charset=utf-8', 'named oddly'],
  ['/.well-known/security.txt', 'text/plain; charset=utf-8', 'Contact: nobody'],
])('%s is served as %s', async (path, type, content) => {
  const answer = await ask(path)
  expect(answer.status).toBe(200)
  expect(answer.body.toString()).toBe(content)
  expect(answer.headers).toMatchObject({
    'content-type': type,
    'content-length': String(Buffer.byteLength(content)),
    'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-cache',
  })
})

test.each([
  '/.env',
  '/%2eenv',
  '/.git/config',
  '/docs/.draft.html',
  '/kiln.yaml',
  '/site.json',
  '/../site.json',
  '/docs/../site.json',
  '/%2e%2e/site.json',
  '/..%2fsite.json',
  '//index.html',
  '/./index.html',
  '/index.html/',
  '/index.html%00',
  '/docs%2findex.htm',
  '/__proto__',
  '/a%20b/',
  '/missing',
])('%s names no file', async (path) => {
  const answer = await ask(path)
  expect(answer.status).toBe(404)
  expect(answer.body.toString()).toBe('no such page\n')
})

test('what is no path is refused, and what is no reading is not allowed', async () => {
  expect((await ask('/%zz')).status).toBe(400)
  const posted = await ask('/', {}, 'POST')
  expect(posted).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
})

test('a folder is named with its slash, on this site and no other', async () => {
  const answer = await ask('/docs?x=1')
  expect(answer).toMatchObject({ status: 308, headers: { location: '/docs/?x=1' } })
  expect((await ask('//docs')).status).toBe(404)
})

test('a copy that is still good is not sent again', async () => {
  const { etag } = (await ask('/')).headers
  expect((await ask('/', { 'if-none-match': `"x", W/${String(etag)}` })).status).toBe(304)
  expect((await ask('/', { 'if-none-match': '"x"' })).status).toBe(200)
  const time = { 'if-modified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' }
  expect((await ask('/', time)).status).toBe(304)
  // The tag decides where both are given: two commits of one second differ.
  expect((await ask('/', { ...time, 'if-none-match': '"x"' })).status).toBe(200)
  const fresh = await ask('/', { 'if-none-match': String(etag) })
  expect(fresh.headers['etag']).toBe(etag)
  expect(fresh.body).toHaveLength(0)
})

test('what is large and text goes packed to those who take it, under a tag of its own', async () => {
  const plain = await ask('/style.css')
  const packed = await ask('/style.css', { 'accept-encoding': 'br, gzip;q=0.5' })
  expect(packed.headers).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept-encoding' })
  expect(gunzipSync(packed.body).toString()).toBe(css)
  expect(packed.headers['etag']).not.toBe(plain.headers['etag'])
  const refused = await ask('/style.css', { 'accept-encoding': 'gzip;q=0' })
  expect(refused.headers['content-encoding']).toBeUndefined()
  expect(
    (await ask('/', { 'accept-encoding': 'gzip' })).headers['content-encoding'],
  ).toBeUndefined()
})

test.each([
  ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
  ['bytes=7-', 206, '789', 'bytes 7-9/10'],
  ['bytes=-2', 206, '89', 'bytes 8-9/10'],
  ['bytes=8-99', 206, '89', 'bytes 8-9/10'],
  ['bytes=10-', 416, '', 'bytes */10'],
  ['bytes=0-1,3-4', 200, '0123456789', undefined],
])('the range %s is answered by %i', async (...row) => {
  const [range, status, content, told] = row
  const answer = await ask('/movie.mp4', { range })
  expect(answer.status).toBe(status)
  expect(answer.body.toString()).toBe(content)
  expect(answer.headers['content-range']).toBe(told)
})

test('HEAD says what GET would, without the content', async () => {
  const head = await ask('/style.css', {}, 'HEAD')
  expect(head.headers['content-length']).toBe(String(css.length))
  expect(head.body).toHaveLength(0)
})

test('each answer is one line of JSON, readiness aside', async () => {
  await ask('/missing?token=x')
  await ask('/ready')
  await expect
    .poll(() => server.lines.findLast((line) => line.includes('token=x')))
    .toMatch(/"method":"GET","path":"\/missing\?token=x","status":404/)
  expect(server.lines.filter((line) => line.includes('/ready'))).toEqual([])
})

test('a page of the site’s own says that there is none', async () => {
  const before = server
  server = await serve(await prepared('own-404', { 'index.html': 'home', '404.html': 'mine' }))
  onTestFinished(() => {
    server.child.kill('SIGKILL')
    server = before
  })
  const answer = await ask('/missing', { 'if-none-match': '*' })
  expect(answer.status).toBe(404)
  expect(answer.body.toString()).toBe('mine')
  expect(answer.headers['content-type']).toBe('text/html; charset=utf-8')
})

test('where there is a folder public, it is the site', async () => {
  const www = await prepared('public', { 'README.md': 'mine', 'public/kiln.yaml': 'yours' })
  const { files: listed } = JSON.parse(await readFile(join(www, 'site.json'), 'utf8')) as {
    files: Record<string, unknown>
  }
  expect(Object.keys(listed)).toEqual(['/kiln.yaml'])
})

test.each([
  ['nothing', { '.hidden': 'x' }, 'there is no file to serve'],
  ['a file called ready', { 'index.html': 'x', ready: 'x' }, '/ready is where the server'],
  ['a folder called ready', { 'ready/index.html': 'x' }, '/ready is where the server'],
])('a site of %s is refused when it is made', async (_what, tree, message) => {
  const { run } = await prepare(`refused ${message} ${Object.keys(tree).length}`, tree)
  const { exitCode, stderr } = await run()
  expect(exitCode).toBe(1)
  expect(stderr).toContain(message)
})

test('a link is refused when the site is made: it could lead anywhere', async () => {
  const { run, source } = await prepare('link', { 'index.html': 'x' })
  await symlink('/etc/passwd', join(source, 'users.txt'))
  const { exitCode, stderr } = await run()
  expect(exitCode).toBe(1)
  expect(stderr).toContain('users.txt is neither a file nor a folder')
})

test('told to stop it answers what is in flight, takes nothing new, and ends well', async () => {
  const big = 'x'.repeat(8 * 1024 * 1024)
  const { child, port } = await serve(await prepared('drain', { 'big.bin': big }))
  const socket = connect(port, '127.0.0.1')
  const slow = new Promise<string>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('readable', () => resolve(text(socket)))
    socket.write('GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n')
  })
  // The answer has begun and cannot be over: it does not fit into the buffers between.
  await once(socket, 'readable')
  child.kill('SIGTERM')
  await expect.poll(() => refuses(port)).toBe(true)
  const answer = await slow
  expect(answer.split('\r\n\r\n')[1]).toHaveLength(big.length)
  socket.end()
  const [code] =
    child.exitCode === null ? ((await once(child, 'exit')) as [number]) : [child.exitCode]
  expect(code).toBe(0)
})

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1')
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', () => resolve(true))
  })
}
