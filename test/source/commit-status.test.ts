import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { CommitStatus } from '../../src/source/commit-status.ts'
import { forges, type Forge } from '../../src/source/forge.ts'
import { writeCommitStatus } from '../../src/source/status-writer.ts'
import { readSecretFile } from '../../src/store/secret-file.ts'
import { forgeApi, type Fault, type ForgeApi } from '../helpers/forge-api.ts'

const token = 'st4tus-token-of-a-test'
const commit = 'a'.repeat(40)
const status: CommitStatus = {
  commit,
  state: 'success',
  context: 'kiln/hello',
  description: 'sealed as sha256:0123456789ab',
  targetUrl: 'https://kiln.example.org/api/v1/operations/delivery.1',
}
let folder: string
let apis: ForgeApi[] = []
let slept: number[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-status-'))
  await writeFile(join(folder, 'token'), `${token}\n`, { mode: 0o600 })
  slept = []
})
afterEach(async () => {
  for (const api of apis) await api.close()
  apis = []
  await rm(folder, { recursive: true, force: true })
})

async function write(
  forge: Forge,
  more: {
    faults?: readonly Fault[]
    status?: Partial<CommitStatus>
    file?: string
    tail?: string
  } = {},
) {
  const api = await forgeApi(forge, token)
  apis.push(api)
  api.faults.push(...(more.faults ?? []))
  let clock = Date.parse('2026-11-21T12:00:00Z')
  const outcome = await writeCommitStatus(
    {
      readSecret: readSecretFile,
      async sleep(ms) {
        slept.push(ms)
        clock += ms
      },
      now: () => new Date(clock),
      answerMs: 500,
      totalMs: 90_000,
    },
    {
      place: {
        forge,
        api: api.address,
        path: 'acme/hello',
        tokenFile: join(folder, more.file ?? 'token'),
      },
      status: { ...status, ...more.status },
      signal: new AbortController().signal,
    },
  )
  expect(JSON.stringify(outcome)).not.toContain(token)
  return { api, outcome }
}

test.each(forges)('%s takes every state, in its own words', async (forge) => {
  const words = []
  for (const state of ['pending', 'success', 'failure', 'error'] as const) {
    const { api, outcome } = await write(forge, { status: { state } })
    expect(outcome.written).toBe(true)
    expect(api.odd).toEqual([])
    expect(api.statuses).toMatchObject([{ commit, context: 'kiln/hello' }])
    words.push(api.statuses[0]?.state)
  }
  expect(words).toEqual(
    forge === 'gitlab'
      ? ['pending', 'success', 'failed', 'failed']
      : ['pending', 'success', 'failure', 'error'],
  )
})

test.each(forges)('%s: a long or odd description is shortened to what it takes', async (forge) => {
  for (const description of ['x'.repeat(5000), '🔥'.repeat(500), 'a\nb\u0000c']) {
    const { api, outcome } = await write(forge, { status: { description } })
    expect(outcome.written).toBe(true)
    expect(api.odd).toEqual([])
  }
})

test.each([
  [401, 'the token is not valid'],
  [403, 'may not write'],
  [404, 'no such repository'],
  [422, 'no such commit'],
  [302, 'it answered 302'],
  [400, 'it answered 400'],
])('an answer of %d ends it at once, with why', async (code, says) => {
  const headers = { location: 'http://127.0.0.1:1/' }
  const { api, outcome } = await write('github', { faults: [{ status: code, headers }] })
  expect(outcome.written).toBe(false)
  expect(outcome.detail).toContain(says)
  expect(api.asked).toHaveLength(1)
  expect(slept).toEqual([])
})

test('a token that the forge does not know ends it at once', async () => {
  await writeFile(join(folder, 'other'), 'another-token\n', { mode: 0o600 })
  const { outcome } = await write('gitea', { file: 'other' })
  expect(outcome).toEqual({
    written: false,
    detail: 'the forge refuses the status: it answered 401: the token is not valid',
  })
})

test.each<[string, Fault, number]>([
  ['seconds', { status: 429, headers: { 'retry-after': '7' } }, 7000],
  ['a date', { status: 503, headers: { 'retry-after': 'Sat, 21 Nov 2026 12:00:30 GMT' } }, 30_000],
  ['a limit of its own', { status: 403, headers: { 'retry-after': '60' } }, 60_000],
  [
    'the time its limit ends',
    {
      status: 403,
      headers: {
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': String(Date.parse('2026-11-21T12:00:45Z') / 1000),
      },
    },
    45_000,
  ],
  ['nothing', { status: 500 }, 1000],
  ['a word that is no time', { status: 429, headers: { 'retry-after': 'soon' } }, 1000],
  ['no answer at all', 'hang', 1000],
])('a forge that says %s is asked again, not sooner', async (_what, fault, waitMs) => {
  const { outcome, api } = await write('github', { faults: [fault] })
  expect(outcome.written).toBe(true)
  expect(slept).toEqual([waitMs])
  expect(api.asked).toHaveLength(2)
})

test('waits grow, and end; a forge that wants to wait longer is not asked again', async () => {
  const away = Array.from({ length: 20 }, (): Fault => ({ status: 502 }))
  const { outcome } = await write('gitea', { faults: away })
  expect(outcome).toEqual({
    written: false,
    detail: 'the forge took no status in time: it answered 502',
  })
  expect(slept).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000])
  slept = []
  const hour: Fault = { status: 429, headers: { 'retry-after': '3600' } }
  const late = await write('gitea', { faults: [hour] })
  expect(late.outcome.written).toBe(false)
  expect(late.api.asked).toHaveLength(1)
  expect(slept).toEqual([])
})

test("gitlab's word for a status that stands there already is a success", async () => {
  const text = '{"message":"Cannot transition status via :enqueue from :pending"}'
  const { outcome } = await write('gitlab', { faults: [{ status: 400, text }] })
  expect(outcome.written).toBe(true)
})

test('a token file that is missing writes nothing, and says which file', async () => {
  const { outcome, api } = await write('github', { file: 'no-such' })
  expect(outcome.written).toBe(false)
  expect(outcome.detail).toContain(join(folder, 'no-such'))
  expect(api.asked).toEqual([])
})
