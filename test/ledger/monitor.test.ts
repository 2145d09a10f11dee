import { mkdtemp, rm, readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { verifierKey } from '../../signing/checkpoint.ts'
import { publicKeyOf } from '../../signing/public-key.ts'
import { derOf } from '../../signing/trust.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { localMonitor } from '../../src/main/local-monitor.ts'
import { startKiln } from '../helpers/cli.ts'
import { memorySigner, origin, type TestSigner } from '../helpers/ledger-signer.ts'
import { memoryStore, type MemoryStore } from '../helpers/memory-store.ts'
import { signedLog } from '../helpers/signed-log.ts'

/** `kiln monitor` and a log over plain HTTP, which somebody tampers with between two looks. */

type Files = Map<string, Uint8Array>
type Log = MemoryStore & { signer: TestSigner }

let shown: Files = new Map()
let isDown = false
let server: Server
let address: string
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-monitor-'))
  server = createServer((request, response) => {
    const bytes = shown.get((request.url ?? '').replace('/api/v1/', ''))
    response.statusCode = isDown ? 503 : bytes === undefined ? 404 : 200
    response.end(bytes)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve))
  await rm(folder, { recursive: true, force: true })
})

let state: string
beforeEach(() => {
  state = join(folder, `${Math.random()}.json`)
})

const look = (more: { key?: string; address?: string; state?: string } = {}) =>
  localMonitor({ address, state, ...more }, { env: {}, standard: '', now: () => new Date() })

function emptyLog(signer = memorySigner()): Log {
  return { ...memoryStore(), signer }
}

/** The same keys at work on another tree: what a stolen signer could do. */
function sameKeys(log: Log): Log {
  return emptyLog(memorySigner(log.signer.keys))
}

async function append(
  log: Log,
  { from, to, mark = '' }: { from: number; to: number; mark?: string },
) {
  const { store, head, signer } = log
  const deps = { store, head, signer, trust: signer.trust, crashPoint: () => undefined }
  const appender = openAppender(deps)
  const leaf = (n: number) => Buffer.from(`entry ${n}${mark}`)
  await Promise.all(Array.from({ length: to - from }, (_, n) => appender.append(leaf(from + n))))
}

const keyOf = ({ trust }: { trust: TestSigner['trust'] }) =>
  verifierKey(trust.origin, publicKeyOf(derOf(trust.logKey)))

async function filesOf({ objects, head, signer }: Log): Promise<Files> {
  const now = await head.read()
  if (now === undefined) throw new Error('the log is empty')
  const tiles = [...objects].filter(([key]) => key.startsWith('tile/'))
  return new Map([...tiles, ['checkpoint', now.bytes], ['log.vkey', Buffer.from(keyOf(signer))]])
}

test.each([
  [1, 2],
  [255, 256],
  [256, 257],
  [300, 300],
  [300, 700],
  [513, 1100],
])('a log that grew from %i to %i entries is intact', async (from, to) => {
  const log = emptyLog()
  await append(log, { from: 0, to: from })
  shown = await filesOf(log)
  expect(await look()).toMatchObject({ kind: 'intact', fresh: from, seenSize: null, pinned: false })
  await append(log, { from, to })
  shown = await filesOf(log)
  const again = { kind: 'intact', size: to, fresh: to - from, seenSize: from, pinned: true }
  expect(await look()).toMatchObject(again)
  expect(await look()).toMatchObject({ kind: 'intact', fresh: 0, seenSize: to })
})

/** A log of 600 entries, seen at 300; then what a hand made of it. */
async function seenAt300(): Promise<{ log: Log; before: Files; after: Files }> {
  const log = emptyLog()
  await append(log, { from: 0, to: 300 })
  const before = await filesOf(log)
  shown = before
  expect(await look()).toMatchObject({ kind: 'intact' })
  await append(log, { from: 300, to: 600 })
  return { log, before, after: await filesOf(log) }
}

async function grown(log: Log, pieces: [number, string][]): Promise<Files> {
  let from = 0
  for (const [to, mark] of pieces) {
    await append(log, { from, to, mark })
    from = to
  }
  return filesOf(log)
}

test.each<[string, string, (log: Log) => Promise<Files>]>([
  [
    'its tail deleted: signed again, smaller',
    'shorter',
    (log) => grown(sameKeys(log), [[200, '']]),
  ],
  ['an old backup restored', 'shorter', (log) => grown(sameKeys(log), [[250, '']])],
  [
    'a fork of the same size',
    'forked',
    (log) =>
      grown(sameKeys(log), [
        [299, ''],
        [300, ' other'],
      ]),
  ],
  [
    'a fork that is longer',
    'forked',
    (log) =>
      grown(sameKeys(log), [
        [299, ''],
        [700, ' other'],
      ]),
  ],
  [
    'its first entry another',
    'forked',
    (log) =>
      grown(sameKeys(log), [
        [1, ' other'],
        [700, ''],
      ]),
  ],
  [
    'no checkpoint',
    'shorter',
    async (log) => {
      const files = await filesOf(log)
      files.delete('checkpoint')
      return files
    },
  ],
  ['another log behind the same name', 'unsigned', () => grown(emptyLog(), [[700, '']])],
  [
    'another origin',
    'other origin',
    async (log) => {
      const files = await filesOf(log)
      const note = Buffer.from(files.get('checkpoint')!)
        .toString()
        .replaceAll(origin, 'other.local')
      return files.set('checkpoint', Buffer.from(note))
    },
  ],
])('%s: history changed', async (_what, change, tamper) => {
  const { log, after } = await seenAt300()
  const remembered = await readFile(state, 'utf8')
  shown = await tamper(log)
  const found = await look()
  expect(found).toMatchObject({ kind: 'changed', change })
  expect(found.kind === 'changed' && found.seen).toContain('\n300\n')
  // What was seen stays seen: it is said again, until the log is what it was.
  expect(await readFile(state, 'utf8')).toBe(remembered)
  expect(await look()).toMatchObject({ kind: 'changed', change })
  shown = after
  expect(await look()).toMatchObject({ kind: 'intact', seenSize: 300, size: 600 })
})

test('one flipped byte in any tile or entry that the look needs, or a missing one: history changed', async () => {
  const { after } = await seenAt300()
  const needed = ['0/001', '0/002.p/88', '1/000.p/2', 'entries/001', 'entries/002.p/88']
  for (const key of needed.map((name) => `tile/${name}`)) {
    const bytes = after.get(key)!
    const [low, high] = key.includes('/001') ? [44 * 40, bytes.length - 1] : [0, bytes.length - 1]
    for (const at of [low, Math.floor((low + high) / 2), high]) {
      const flipped = Uint8Array.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      shown = new Map(after).set(key, flipped)
      expect([key, at, (await look()).kind]).toEqual([key, at, 'changed'])
    }
    shown = new Map(after)
    shown.delete(key)
    expect([key, (await look()).kind]).toEqual([key, 'changed'])
  }
  const note = Buffer.from(after.get('checkpoint')!)
  note[note.length - 10]! ^= 1
  shown = new Map(after).set('checkpoint', note)
  expect((await look()).kind).toBe('changed')
})

test('another key than before, or than the one that was given, is said', async () => {
  const { after } = await seenAt300()
  shown = after
  const wrong = keyOf(signedLog(origin))
  expect(await look({ key: wrong })).toMatchObject({ kind: 'changed', change: 'other key' })
  const before = JSON.parse(await readFile(state, 'utf8')) as { logs: { key: string }[] }
  expect(before.logs[0]?.key).not.toBe(wrong)
  expect(await look({ key: before.logs[0]!.key })).toMatchObject({ kind: 'intact', pinned: true })
  state = `${state}.new`
  expect(await look({ key: wrong })).toMatchObject({ kind: 'changed', change: 'unsigned' })
  await expect(look({ key: `${wrong.slice(0, -4)}AAA=` })).rejects.toMatchObject({
    code: 'invalid_input',
  })
})

test('the same log at two addresses has one history', async () => {
  const { log, after } = await seenAt300()
  shown = after
  const alias = address.replace('127.0.0.1', 'localhost')
  expect(await look({ address: alias })).toMatchObject({ kind: 'intact', seenSize: 300 })
  shown = await grown(sameKeys(log), [[700, ' other']])
  expect(await look({ address: alias })).toMatchObject({ kind: 'changed', change: 'forked' })
})

test('a memory that is damaged is no first look; what does not answer is an outage', async () => {
  const { after } = await seenAt300()
  shown = after
  const text = await readFile(state, 'utf8')
  await writeFile(state, text.slice(1))
  await expect(look()).rejects.toMatchObject({ code: 'invalid_input', place: state })
  await expect(look({ address: 'http://127.0.0.1:1', state: `${state}.2` })).rejects.toMatchObject({
    code: 'not_running',
  })
})

test('the command watches through growth and an outage, and ends with 8, loudly, when history changed', async () => {
  const { log, before, after } = await seenAt300()
  shown = before
  const { written, ended } = startKiln(['monitor', address, '--every', '1s', '--state', state])
  const within = { timeout: 30_000 }
  const sizes = () => written.stdout.split('\n').map((line) => line.split('\t')[1])
  await expect
    .poll(() => written.stderr, within)
    .toContain('0 new entries checked, the 300 of before')
  shown = after
  await expect
    .poll(() => written.stderr, within)
    .toContain('300 new entries checked, the 300 of before')
  isDown = true
  await expect.poll(() => written.stderr, within).toContain('checkpoint does not answer: HTTP 503')
  const looks = sizes().length
  isDown = false
  await expect.poll(() => sizes().length, within).toBeGreaterThan(looks)
  expect(new Set(sizes().slice(0, -1))).toEqual(new Set(['300', '600']))
  shown = await grown(sameKeys(log), [[700, ' other']])
  const { code, stdout, stderr } = await ended
  expect(code).toBe(8)
  expect(stdout.trimEnd().split('\n').at(-1)).toBe(`${origin}\tCHANGED\tforked`)
  expect(stderr).toContain(`HISTORY CHANGED at ${address}: forked`)
  // It ended at the first such look: what it shows is the proof, and what was seen stays seen.
  expect(stderr.split('HISTORY CHANGED')).toHaveLength(2)
  expect(await look()).toMatchObject({ kind: 'changed', change: 'forked' })
  shown = after
  expect(await look()).toMatchObject({ kind: 'intact', seenSize: 600 })
})
