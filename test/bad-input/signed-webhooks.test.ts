import { createHmac, randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { beforeEach, expect, test } from 'vitest'
import type { Webhooks } from '../../src/api/ports.ts'
import type { DeliveryRow, WebhookMemory } from '../../src/ledger/index-webhooks.ts'
import { createWebhooks } from '../../src/main/webhooks.ts'
import { gitlabPush } from '../helpers/webhook-payloads.ts'

// Number 23 of the catalogue of bad input: the form of Standard Webhooks, as GitLab's signing tokens use it.

const address = 'https://gitlab.com/acme/shop.git'
const key = randomBytes(32)
const token = `whsec_${key.toString('base64')}`
const now = new Date('2026-11-21T12:00:00Z')
const second = now.getTime() / 1000
const body = JSON.stringify(gitlabPush())
const id = 'f0e1d2c3-1111-2222-3333-444455556666'

let secret: string
let hints: number
let rows: Map<string, DeliveryRow>
let logged: string[]
let webhooks: Webhooks

beforeEach(() => {
  secret = token
  hints = 0
  rows = new Map()
  logged = []
  webhooks = createWebhooks({
    repositories: async () => [{ address, forge: 'gitlab', webhook: { secretFile: '/secret' } }],
    readSecret: async () => secret,
    memory: memory(),
    watches: {
      list: async () => [
        {
          id: 'watch.shop',
          repository: address,
          branches: ['main'],
          requestedBy: 'token',
          since: now.toISOString(),
          lastCommit: null,
          failure: null,
        },
      ],
      async hint() {
        hints += 1
      },
    },
    logger: pino({ level: 'info' }, { write: (line: string) => void logged.push(line) }),
    now: () => now,
  })
})

/** The contract of the one in SQL, as far as this needs it. */
function memory(): WebhookMemory {
  return {
    async take(row) {
      if (rows.has(row.delivery)) return 'taken'
      rows.set(row.delivery, row)
      return 'new'
    },
    announced: async () => undefined,
    settle: async () => undefined,
    deliveries: async () => [...rows.values()],
  }
}

type Given = Readonly<Record<string, string | undefined>>

function signature(time: string | number, by: Buffer = key): string {
  return `v1,${createHmac('sha256', by).update(`${id}.${time}.${body}`).digest('base64')}`
}

/** What GitLab sends, with these headers instead. */
function send(more: Given = {}, sent = body) {
  const headers = {
    'x-gitlab-event': 'Push Hook',
    'x-gitlab-event-uuid': 'aaaaaaaa-1111-2222-3333-444455556666',
    'idempotency-key': id,
    'webhook-id': id,
    'webhook-timestamp': String(second),
    'webhook-signature': signature(second),
    ...more,
  }
  return webhooks.receive({ forge: 'gitlab', headers, body: Buffer.from(sent) })
}

test.each<[string, Given]>([
  ['at once', {}],
  ['five minutes late', at(second - 300)],
  ['five minutes early', at(second + 300)],
  [
    'with the old key beside the new one',
    { 'webhook-signature': `${signature(second, randomBytes(32))} ${signature(second)}` },
  ],
  ['beside a later version', { 'webhook-signature': `v1a,abc ${signature(second)}` }],
])('a push that is signed %s makes its watch look', async (_, given) => {
  expect(await send(given)).toMatchObject({ result: 'looking', delivery: id })
  expect(hints).toBe(1)
})

function at(time: number | string): Given {
  return { 'webhook-timestamp': String(time), 'webhook-signature': signature(time) }
}

test.each<[string, Given]>([
  ['23 stale by a second', at(second - 301)],
  ['23 a year old', at(second - 31_536_000)],
  ['23 in the future by a second', at(second + 301)],
  ['23 in milliseconds', at(second * 1000)],
])('time %s: refused, as what it is, and on record', async (_, given) => {
  await expect(send(given)).rejects.toMatchObject({
    code: expect.stringMatching(/^unauthenticated$/) as string,
  })
  expect([hints, rows.size]).toEqual([0, 0])
  expect(logged.join()).toMatch(/signed at another time|no secret fits/)
})

test('23 a stale one says that its time is what is wrong', async () => {
  await expect(send(at(second - 3600))).rejects.toMatchObject({
    place: 'webhook-timestamp',
    message: 'the signature fits, and was made at another time',
  })
})

test.each<[string, Given]>([
  ['23 a fresh time under an old signature', { 'webhook-signature': signature(second - 3600) }],
  ['23 no time', { 'webhook-timestamp': undefined }],
  ['23 an empty time', at('')],
  ['23 a negative time', at(-second)],
  ['23 a time with a fraction', at(`${second}.5`)],
  ['23 a time in hexadecimal', at(`0x${second.toString(16)}`)],
  ['23 a date', at(now.toISOString())],
  ['23 a time with a zero before it', at(`0${second}`)],
  ['23 no signature', { 'webhook-signature': undefined }],
  ['23 an empty signature', { 'webhook-signature': '' }],
  ['23 no id', { 'webhook-id': undefined }],
  ['23 another id', { 'webhook-id': 'b0e1d2c3-1111-2222-3333-444455556666' }],
  ['23 another key', { 'webhook-signature': signature(second, randomBytes(32)) }],
  [
    '23 the token as it stands as key',
    { 'webhook-signature': signature(second, Buffer.from(token)) },
  ],
  ['23 another version', { 'webhook-signature': signature(second).replace('v1,', 'v2,') }],
  ['23 without its version', { 'webhook-signature': signature(second).slice(3) }],
  ['23 cut short', { 'webhook-signature': signature(second).slice(0, -2) }],
  ['23 base64 for addresses', { 'webhook-signature': 'v1,'.padEnd(46, '-').concat('=') }],
  ['23 joined by a comma', { 'webhook-signature': `v1,AAAA,${signature(second)}` }],
  ['23 the eleventh of many', { 'webhook-signature': `${'v1,x '.repeat(10)}${signature(second)}` }],
  ['the token itself instead of a signature', plain(token)],
])('signature %s: refused, and nothing happens', async (_, given) => {
  await expect(send(given)).rejects.toMatchObject({
    code: 'unauthenticated',
    message: 'the signature fits no secret that Kiln knows',
  })
  expect([hints, rows.size]).toEqual([0, 0])
})

function plain(text: string): Given {
  return {
    'webhook-id': undefined,
    'webhook-timestamp': undefined,
    'webhook-signature': undefined,
    'x-gitlab-token': text,
  }
}

test('23 another body does not fit the signature', async () => {
  await expect(send({}, `${body}\n`)).rejects.toMatchObject({ code: 'unauthenticated' })
})

test.each(['whsec_', 'whsec_short', 'whsec_not base64 at all, though it is long enough for one'])(
  '23 a signing token that is none signs nothing: %s',
  async (odd) => {
    secret = odd
    const by = Buffer.from(odd.slice('whsec_'.length), 'base64')
    await expect(send({ 'webhook-signature': signature(second, by) })).rejects.toMatchObject({
      code: 'unauthenticated',
    })
  },
)

test('a secret token still does where nothing is signed, and not where something is', async () => {
  secret = 'a-secret-token-of-the-older-form'
  expect(await send(plain(secret))).toMatchObject({ result: 'looking' })
  const both = { ...at(second), 'x-gitlab-token': secret }
  await expect(send(both)).rejects.toMatchObject({ code: 'unauthenticated' })
})

test('23 the same delivery within its five minutes is taken once', async () => {
  await send()
  expect(
    await send({ 'x-gitlab-event-uuid': 'bbbbbbbb-1111-2222-3333-444455556666' }),
  ).toMatchObject({
    result: 'already-taken',
    delivery: id,
  })
  expect(hints).toBe(1)
  expect(logged.join()).not.toContain(token)
})
