import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Watch } from '../../src/api/ports.ts'
import { openIndex, type LedgerIndex } from '../../src/ledger/index-database.ts'
import { createWebhooks } from '../../src/main/webhooks.ts'
import type { Forge } from '../../src/source/forge.ts'
import type { KnownRepository } from '../../src/source/known-repository.ts'
import { readSecretFile } from '../../src/store/secret-file.ts'
import type { WatchHint } from '../../workflows/watch-repository.ts'
import { memoryPorts, startTestApi } from '../helpers/api-ports.ts'
import {
  commitA,
  commitB,
  githubPing,
  githubPush,
  giteaPush,
  gitlabPush,
  noCommit,
  webhookHeaders,
  type Push,
} from '../helpers/webhook-payloads.ts'

// Numbers are those of the catalogue of bad input: 13 to 23 are the webhooks'.

const secret = 's3cret-of-the-shops-webhook'
const otherSecret = 's3cret-of-another-repository'
const addresses = {
  github: 'git@github.com:acme/shop.git',
  gitlab: 'https://gitlab.com/acme/shop.git',
  gitea: 'https://git.example.org/acme/shop.git',
} as const
const pushes = { github: githubPush, gitlab: gitlabPush, gitea: giteaPush } as const
const forges = ['github', 'gitlab', 'gitea'] as const

let folder: string
let index: LedgerIndex
let api: Awaited<ReturnType<typeof startTestApi>>
let hints: { watch: string; hint: WatchHint }[]
let outage: Error | undefined
let now: Date
const logged: string[] = []

const watchOf = (repository: string): Watch => ({
  id: `watch.${repository}`,
  repository,
  branches: ['main', 'release/1.0'],
  requestedBy: 'token',
  since: '2026-11-21T00:00:00Z',
  lastCommit: null,
  failure: null,
})

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-webhooks-'))
  for (const [name, text] of [
    ['secret', secret],
    ['other', otherSecret],
  ] as const)
    await writeFile(join(folder, name), `${text}\n`, { mode: 0o600 })
  const lines = { write: (line: string) => void logged.push(line) }
  const logger = pino({ level: 'info' }, lines)
  index = await openIndex({ place: { kind: 'pglite', dir: join(folder, 'index') }, logger })
  const entry = (forge: Forge, address: string, file: string): KnownRepository => ({
    address,
    forge,
    webhook: { secretFile: join(folder, file) },
  })
  const webhooks = createWebhooks({
    repositories: async () => [
      ...forges.map((forge) => entry(forge, addresses[forge], 'secret')),
      entry('github', 'https://github.com/acme/other.git', 'other'),
      entry('github', 'https://github.com/acme/unread.git', 'no-such-file'),
    ],
    readSecret: readSecretFile,
    memory: index,
    watches: {
      list: async () => [
        ...forges.map((forge) => watchOf(addresses[forge])),
        watchOf('https://github.com/acme/other'),
      ],
      async hint(watch, hint) {
        if (outage !== undefined) throw outage
        hints.push({ watch, hint })
      },
    },
    logger,
    now: () => now,
  })
  api = await startTestApi({ ...memoryPorts(), webhooks })
})
beforeEach(() => {
  hints = []
  outage = undefined
  now = new Date('2026-11-21T12:00:00Z')
})
afterAll(async () => {
  await api.app.close()
  await index.close()
  await rm(folder, { recursive: true, force: true })
})

type Sent = { status: number; text: string; json: Record<string, unknown> }

async function send(
  forge: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
): Promise<Sent> {
  const answer = await fetch(`${api.address}/webhooks/${forge}`, { method: 'POST', headers, body })
  const text = await answer.text()
  return { status: answer.status, text, json: JSON.parse(text) as Record<string, unknown> }
}

/** Signs exactly this text and sends it. */
function deliver(
  forge: Forge,
  body: string,
  more: { id?: string; event?: string; key?: string; headers?: Record<string, string> } = {},
): Promise<Sent> {
  const { id = randomUUID(), key = secret, headers = {} } = more
  const event = more.event === undefined ? {} : { event: more.event }
  const signed = webhookHeaders(forge, { body, secret: key, id, ...event })
  return send(forge, body, { ...signed, ...headers })
}

const pushOf = (forge: Forge, push: Push = {}) => JSON.stringify(pushes[forge](push))

test.each(forges)(
  '%s: a signed push makes its watch look, whatever the address form',
  async (forge) => {
    const id = randomUUID()
    const answer = await deliver(forge, pushOf(forge), { id })
    expect(answer).toMatchObject({ status: 202, json: { result: 'looking', delivery: id } })
    const hint = { forge, delivery: id, branch: 'main', commit: commitB }
    expect(hints).toEqual([{ watch: `watch.${addresses[forge]}`, hint }])
    const known = (await index.deliveries(1000)).find(({ delivery }) => delivery === id)
    expect(known).toMatchObject({ delivery: id, result: 'looking', commit: commitB })
  },
)

const hub = (body: string) =>
  webhookHeaders('github', { body, secret, id: 'x' })['x-hub-signature-256']!
const body = pushOf('github')
const hex = hub(body).slice('sha256='.length)

test.each<[string, Forge, Record<string, string>]>([
  ['14 none', 'github', { 'x-hub-signature-256': '' }],
  ['14 another secret', 'github', { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` }],
  ['14 short', 'github', { 'x-hub-signature-256': `sha256=${hex.slice(0, 63)}` }],
  ['14 long', 'github', { 'x-hub-signature-256': `sha256=${hex}0` }],
  ['14 upper case', 'github', { 'x-hub-signature-256': `sha256=${hex.toUpperCase()}` }],
  ['14 sha1 under the new name', 'github', { 'x-hub-signature-256': `sha1=${hex.slice(0, 40)}` }],
  [
    '14 sha1 alone',
    'github',
    { 'x-hub-signature-256': '', 'x-hub-signature': `sha1=${hex.slice(0, 40)}` },
  ],
  ['14 without its name', 'github', { 'x-hub-signature-256': hex }],
  ['14 two in one header', 'github', { 'x-hub-signature-256': `sha256=${hex}, sha256=${hex}` }],
  ['14 a space before', 'github', { 'x-hub-signature-256': `sha256= ${hex}` }],
  ['14 gitea: another secret', 'gitea', { 'x-gitea-signature': '0'.repeat(64) }],
  ['14 gitea: upper case', 'gitea', { 'x-gitea-signature': hex.toUpperCase() }],
  ['14 gitea: one of two wrong', 'gitea', { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` }],
  ['14 gitlab: none', 'gitlab', { 'x-gitlab-token': '' }],
  ['14 gitlab: a part', 'gitlab', { 'x-gitlab-token': secret.slice(0, -1) }],
  ['14 gitlab: more', 'gitlab', { 'x-gitlab-token': `${secret}x` }],
  ['14 gitlab: other case', 'gitlab', { 'x-gitlab-token': secret.toUpperCase() }],
])('signature %s: refused, and nothing happens', async (...[, forge, headers]) => {
  const before = await index.deliveries(1000)
  const given = Object.fromEntries(
    Object.entries({
      ...webhookHeaders(forge, { body: pushOf(forge), secret, id: randomUUID() }),
      ...headers,
    }).filter(([, value]) => value !== ''),
  )
  const answer = await send(forge, pushOf(forge), given)
  expect(answer).toMatchObject({ status: 401, json: { code: 'unauthenticated' } })
  expect(hints).toEqual([])
  expect(await index.deliveries(1000)).toEqual(before)
})

test('15 the same JSON written anew does not fit the signature', async () => {
  const headers = webhookHeaders('github', { body, secret, id: randomUUID() })
  for (const other of [JSON.stringify(JSON.parse(body), null, 1), `${body}\n`, `\uFEFF${body}`]) {
    expect((await send('github', other, headers)).status).toBe(401)
  }
  expect(hints).toEqual([])
})

test("another repository's secret announces nothing for this one", async () => {
  const answer = await deliver('github', body, { key: otherSecret })
  expect(answer).toMatchObject({ status: 200, json: { result: 'ignored' } })
  const own = await deliver('github', pushOf('github', { place: 'github.com/acme/other' }), {
    key: otherSecret,
  })
  expect(own.status).toBe(202)
  expect(hints.map(({ watch }) => watch)).toEqual(['watch.https://github.com/acme/other'])
})

test.each([
  ['16 form-encoded', 'application/x-www-form-urlencoded'],
  ['no type', ''],
  ['text', 'text/plain'],
  ['almost', 'application/jsonx'],
])('content type %s: refused with what to set', async (...[, type]) => {
  const answer = await deliver('github', body, { headers: { 'content-type': type } })
  expect(answer.json).toMatchObject({ code: 'invalid_input', place: 'content-type' })
  expect(answer.status).toBe(400)
  expect(hints).toEqual([])
})

/** Sends by hand, and gives what came back until the server ended the connection, or `bytes` were sent. */
function raw(head: string, { chunk, chunks }: { chunk: string; chunks: number }) {
  const { hostname, port } = new URL(api.address)
  return new Promise<{ answer: string; sent: number }>((resolve) => {
    const seen = { answer: '', sent: 0 }
    const socket = connect(Number(port), hostname)
    const more = () => {
      while (seen.sent < chunks && !socket.destroyed && seen.answer === '') {
        seen.sent += 1
        if (!socket.write(chunk)) return void socket.once('drain', more)
      }
    }
    socket.on('connect', () => {
      socket.write(head)
      more()
    })
    socket.on('data', (data) => (seen.answer += data.toString('latin1')))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(seen))
  })
}

const headOf = (length: string) =>
  [
    'POST /webhooks/github HTTP/1.1',
    'host: x',
    'content-type: application/json',
    'x-github-event: push',
    `x-github-delivery: ${randomUUID()}`,
    `x-hub-signature-256: sha256=${'0'.repeat(64)}`,
    length,
    '',
    '',
  ].join('\r\n')

test('17 a body without an end is cut off at the cap, while it comes', async () => {
  const before = process.memoryUsage().rss
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  const { answer, sent } = await raw(headOf('transfer-encoding: chunked'), {
    chunk,
    chunks: 32_768,
  })
  expect(answer).toMatch(/^HTTP\/1.1 413 /)
  expect(answer).toMatch(/connection: close/i)
  // Two gigabytes were offered; what the kernel buffers is all that came beyond the cap.
  expect(sent * 0x10000).toBeLessThan(100 * 1024 * 1024)
  expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024)
})

test('17 a length above the cap is refused before anything of it comes', async () => {
  const { answer } = await raw(headOf('content-length: 2147483648'), { chunk: 'x', chunks: 1 })
  expect(answer).toMatch(/^HTTP\/1.1 413 /)
})

test('17 a length that is not one, and a body that is shorter, change nothing', async () => {
  const odd = await raw(headOf('content-length: 1e3'), { chunk: 'x', chunks: 1 })
  expect(odd.answer).toMatch(/^HTTP\/1.1 400 /)
  const both = await raw(headOf('content-length: 5\r\ntransfer-encoding: chunked'), {
    chunk: '0\r\n\r\n',
    chunks: 1,
  })
  expect(both.answer).toMatch(/^HTTP\/1.1 400 /)
  expect(hints).toEqual([])
})

test('17 a body that comes too slowly is ended by the clock, not by its sender', async () => {
  const slow = await startTestApi({ ...memoryPorts() }, { requestTimeoutMs: 300 })
  const { hostname, port } = new URL(slow.address)
  const socket = connect(Number(port), hostname)
  const answer = await new Promise<string>((resolve) => {
    let text = ''
    socket.write(`${headOf('content-length: 100000')}{`)
    const drip = setInterval(() => socket.write(' '), 50)
    socket.on('data', (data) => (text += data.toString('latin1')))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearInterval(drip)
      resolve(text)
    })
  })
  await slow.app.close()
  expect(answer).toMatch(/^HTTP\/1.1 408 /)
})

test('18 a delivery that comes a thousand times makes the watch look once', async () => {
  const id = randomUUID()
  await deliver('gitea', pushOf('gitea'), { id })
  for (let round = 0; round < 20; round += 1) {
    const many = Array.from({ length: 10 }, () => deliver('gitea', pushOf('gitea'), { id }))
    for (const again of await Promise.all(many)) {
      expect(again).toMatchObject({ status: 200, json: { result: 'already-taken' } })
    }
  }
  expect(hints).toHaveLength(1)
})

test('18 the same id with another body is refused and logged', async () => {
  const id = randomUUID()
  await deliver('github', body, { id })
  const answer = await deliver('github', pushOf('github', { after: commitA }), { id })
  expect(answer).toMatchObject({ status: 409, json: { code: 'refused', place: id } })
  expect(hints).toHaveLength(1)
  expect(logged.some((line) => line.includes('with another body') && line.includes(id))).toBe(true)
})

test('18 a replay after a year is only another look, and old ids are forgotten', async () => {
  const id = randomUUID()
  await deliver('github', body, { id })
  now = new Date('2027-11-21T12:00:00Z')
  expect((await deliver('github', body, { id })).status).toBe(202)
  expect(hints).toHaveLength(2)
  expect((await index.deliveries(1000)).map(({ delivery }) => delivery)).toEqual([id])
})

test('an outage takes nothing: the forge delivers it again, and then it counts', async () => {
  const id = randomUUID()
  outage = new Error('Temporal is away')
  expect((await deliver('github', body, { id })).status).toBe(500)
  outage = undefined
  expect((await deliver('github', body, { id })).status).toBe(202)
  expect(hints).toHaveLength(1)
})

test.each<[string, Forge, Push, string]>([
  ['19 a deleted branch', 'github', { after: noCommit }, 'was deleted'],
  ['19 a deleted branch', 'gitlab', { after: noCommit }, 'was deleted'],
  ['19 a tag', 'github', { ref: 'refs/tags/v1.0' }, 'tags are not built'],
  ['19 a tag of a branch’s name', 'gitea', { ref: 'refs/tags/main' }, 'tags are not built'],
  ['20 a pull request', 'github', { ref: 'refs/pull/7/head' }, 'not a branch'],
  ['another branch', 'gitea', { ref: 'refs/heads/feature' }, 'feature is not watched'],
  ['an odd branch', 'github', { ref: 'refs/heads/-x' }, 'not a branch'],
  ['a branch up a folder', 'github', { ref: 'refs/heads/../main' }, 'not a branch'],
  ['21 another host', 'github', { place: 'github.com.example.org/acme/shop' }, 'no repository'],
  ['21 an inner host', 'gitea', { place: '169.254.169.254/acme/shop' }, 'no repository'],
  ['21 another repository', 'gitlab', { place: 'gitlab.com/acme/shop2' }, 'no repository'],
])('%s of %s is ignored, with the reason on record', async (...[, forge, push, reason]) => {
  const id = randomUUID()
  const given = { ...pushes[forge](push), ...(push.ref === undefined ? {} : { ref: push.ref }) }
  const event =
    forge === 'gitlab' && push.ref?.startsWith('refs/tags') ? 'Tag Push Hook' : undefined
  const answer = await deliver(forge, JSON.stringify(given), {
    id,
    ...(event === undefined ? {} : { event }),
  })
  expect(answer).toMatchObject({ status: 200, json: { result: 'ignored' } })
  expect(answer.json['message']).toContain(reason)
  expect(hints).toEqual([])
  const known = (await index.deliveries(1000)).find(({ delivery }) => delivery === id)
  expect(known).toMatchObject({ result: 'ignored', message: answer.json['message'] })
})

test('19 a tag push of gitlab under its own event is ignored', async () => {
  const answer = await deliver('gitlab', pushOf('gitlab', { ref: 'refs/tags/v1' }), {
    event: 'Tag Push Hook',
  })
  expect(answer.json).toMatchObject({ result: 'ignored', message: 'tags are not built' })
})

test('19 pushes out of order and a forced one each only make the watch look', async () => {
  for (const push of [{ after: commitB }, { after: commitA, before: commitB, forced: true }]) {
    expect((await deliver('github', pushOf('github', push))).status).toBe(202)
  }
  expect(hints.map(({ hint }) => hint.commit)).toEqual([commitB, commitA])
})

test('21 one address of three that points elsewhere is never used, only compared', async () => {
  const push = githubPush()
  push.repository.clone_url = 'https://evil.example/acme/shop.git'
  await deliver('github', JSON.stringify(push))
  expect(hints.map(({ watch }) => watch)).toEqual([`watch.${addresses.github}`])
  expect(JSON.stringify(hints)).not.toContain('evil')
})

test.each([
  ['ping', 'github', JSON.stringify(githubPing()), 'reaches Kiln'],
  ['22 an event nobody knows', 'github', '{}', 'says nothing of a branch'],
  ['issues', 'gitea', '{"action":"opened"}', 'says nothing of a branch'],
  ['Merge Request Hook', 'gitlab', '{"object_kind":"merge_request"}', 'says nothing of a branch'],
] as const)('the event %s of %s is answered with 200 and says so', async (...row) => {
  const [event, forge, text, message] = row
  const answer = await deliver(forge, text, { event: event.replace(/^22 /, '') })
  expect(answer).toMatchObject({ status: 200, json: { result: 'ignored' } })
  expect(answer.json['message']).toContain(message)
})

test.each<[string, string, number]>([
  ['not JSON', '{', 400],
  ['22 a depth of 100,000', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 400],
  [
    '22 a depth of 100,000 beside a push',
    `${body.slice(0, -1)},"deep":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_001)}`,
    202,
  ],
  [
    '22 a lone surrogate in the branch',
    body.replace('refs/heads/main', String.raw`refs/heads/\ud800`),
    200,
  ],
  ['22 NUL in the branch', body.replace('refs/heads/main', String.raw`refs/heads/a\u0000`), 200],
  ['22 __proto__', `{"__proto__":${body}}`, 400],
  ['a list', '[]', 400],
  ['null', 'null', 400],
  ['a number', '1e999', 400],
  ['a push without its repository', '{"ref":"refs/heads/main"}', 400],
  ['a short commit', body.replaceAll(commitB, 'abc123'), 400],
  ['a commit in upper case', body.replaceAll(commitB, 'B'.repeat(40)), 400],
  ['a commit that is an option', body.replaceAll(commitB, `--${'b'.repeat(38)}`), 400],
])('payload: %s', async (...[, text, status]) => {
  const answer = await deliver('github', text)
  expect(answer.status).toBe(status)
  expect(hints).toHaveLength(status === 202 ? 1 : 0)
})

test('22 of a key that stands there twice, whichever counts is only compared', async () => {
  const twice = body.replace('{"ref":', '{"ref":"refs/heads/evil","ref":')
  const answer = await deliver('github', twice)
  expect(answer.status).toBe(202)
  expect(hints.map(({ hint }) => hint.branch)).toEqual(['main'])
})

test('a body that is not UTF-8 is refused, since what is checked must be what came', async () => {
  const bytes = new Uint8Array(Buffer.concat([Buffer.from(body), Buffer.from([0xff])]))
  const headers = webhookHeaders('github', { body, secret, id: randomUUID() })
  expect((await send('github', bytes, headers)).status).toBe(400)
})

test.each<[string, Forge, Record<string, string>]>([
  ['no id', 'github', { 'x-github-delivery': '' }],
  ['an odd id', 'github', { 'x-github-delivery': '../../x' }],
  ['a long id', 'gitea', { 'x-gitea-delivery': 'a'.repeat(200) }],
  ['no event', 'gitlab', { 'x-gitlab-event': '' }],
  ['no id', 'gitlab', { 'x-gitlab-event-uuid': '' }],
])('%s from %s is refused', async (...[, forge, headers]) => {
  const given = Object.fromEntries(
    Object.entries({
      ...webhookHeaders(forge, { body: pushOf(forge), secret, id: randomUUID() }),
      ...headers,
    }).filter(([, value]) => value !== ''),
  )
  const answer = await send(forge, pushOf(forge), given)
  expect(answer).toMatchObject({ status: 400, json: { code: 'invalid_input' } })
  expect(hints).toEqual([])
})

test('gitlab: a retry is known by its idempotency key, whatever else changes', async () => {
  const [key, text] = [randomUUID(), pushOf('gitlab')]
  await deliver('gitlab', text, { headers: { 'idempotency-key': key } })
  const again = await deliver('gitlab', text, { headers: { 'idempotency-key': key } })
  expect(again.json).toMatchObject({ result: 'already-taken', delivery: key })
})

test('a forge that is none has no door, and other methods need the token', async () => {
  const headers = { 'content-type': 'application/json' }
  expect((await send('bitbucket', body, headers)).status).toBe(404)
  for (const method of ['GET', 'PUT', 'DELETE']) {
    expect((await fetch(`${api.address}/webhooks/github`, { method })).status).toBe(401)
  }
})

test('no secret stands in any answer, in the log or in what is remembered', async () => {
  const answers = await Promise.all([
    deliver('github', body),
    deliver('github', body, { key: 'another-secret-of-nobody' }),
    deliver('gitlab', pushOf('gitlab'), { key: 'another-secret-of-nobody' }),
  ])
  const kept = JSON.stringify([answers, logged, await index.deliveries(1000)])
  expect(kept).toContain('no secret fits')
  for (const one of [secret, otherSecret, 'another-secret-of-nobody']) {
    expect(kept).not.toContain(one)
  }
})
