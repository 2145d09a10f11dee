import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { verifierKey } from '../../signing/checkpoint.ts'
import { publicKeyOf } from '../../signing/public-key.ts'
import { derOf } from '../../signing/trust.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { findTool } from '../helpers/find-tool.ts'
import { memorySigner, origin, type TestSigner } from '../helpers/ledger-signer.ts'
import { memoryStore, type FaultPlan, type MemoryStore } from '../helpers/memory-store.ts'

/** Kiln's log in the hands of other people's code: the checksum database's, transparency-dev's, Tessera's. */

let tool: string
let shown: ReadonlyMap<string, Uint8Array> = new Map()
let server: Server
let address: string

beforeAll(async () => {
  tool = findTool('tlog-check')
  server = createServer((request, response) => {
    const bytes = shown.get((request.url ?? '').slice(1))
    response.statusCode = bytes === undefined ? 404 : 200
    response.end(bytes)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
})

afterAll(() => new Promise((resolve) => server.close(resolve)))

type Log = MemoryStore & { signer: TestSigner }

function emptyLog(fault?: FaultPlan): Log {
  return { ...memoryStore(fault), signer: memorySigner() }
}

function appenderOf({ store, head, signer }: Log) {
  return openAppender({ store, head, signer, trust: signer.trust, crashPoint: () => undefined })
}

const leaf = (n: number) => Buffer.from(`entry ${n} of a log that other people read`)

async function append({ log, from, to }: { log: Log; from: number; to: number }): Promise<void> {
  const appender = appenderOf(log)
  const numbers = Array.from({ length: to - from }, (_, n) => from + n)
  await Promise.all(numbers.map((n) => appender.append(leaf(n))))
}

/** What anybody can fetch of the log. */
async function published({ objects, head }: Log): Promise<Map<string, Uint8Array>> {
  const files = [...objects].filter(([key]) => key.startsWith('tile/'))
  const now = await head.read()
  if (now === undefined) throw new Error('the log is empty')
  return new Map([...files, ['checkpoint', now.bytes]])
}

async function judged(files: ReadonlyMap<string, Uint8Array>, { signer }: Log, key?: string) {
  shown = files
  const vkey = key ?? verifierKey(origin, publicKeyOf(derOf(signer.trust.logKey)))
  return execa(tool, ['-url', address, '-vkey', vkey], { reject: false })
}

async function accepts(log: Log): Promise<{ size: number; records: number; trees: number }> {
  const { stdout, stderr, exitCode } = await judged(await published(log), log)
  expect(`${exitCode} ${stderr}`).toMatch(/^0 /)
  return JSON.parse(stdout) as { size: number; records: number; trees: number }
}

test.each([1, 2, 255, 256, 257, 300])('a log of %i entries, grown in pieces', async (size) => {
  const log = emptyLog()
  const half = Math.floor(size / 2)
  await append({ log, from: 0, to: half })
  await append({ log, from: half, to: size })
  expect(await accepts(log)).toMatchObject({ size, records: size, trees: size })
})

test('a log of 70,000 entries', async () => {
  const log = emptyLog()
  await append({ log, from: 0, to: 70_000 })
  expect(await accepts(log)).toMatchObject({ size: 70_000 })
})

test('a log whose writes were lost, or landed unheard, again and again', async () => {
  let write = 0
  const fates = [undefined, 'lost', undefined, 'landed', undefined, undefined] as const
  const log = emptyLog(() => fates[(write += 1) % fates.length])
  const appender = appenderOf(log)
  for (let n = 0; n < 40; n += 1) {
    for (;;) {
      const index = await appender.append(leaf(n)).catch(() => undefined)
      if (index !== undefined) break
    }
  }
  expect(await accepts(log)).toMatchObject({ size: 40 })
})

test('a log that two writers append to at the same time', async () => {
  const log = emptyLog()
  const numbers = Array.from({ length: 300 }, (_, n) => n)
  const writers = [appenderOf(log), appenderOf(log)]
  const all = writers.map((writer, odd) =>
    Promise.all(numbers.filter((n) => n % 2 === odd).map((n) => writer.append(leaf(n)))),
  )
  expect(new Set((await Promise.all(all)).flat()).size).toBe(300)
  expect(await accepts(log)).toMatchObject({ size: 300 })
})

test('one flipped byte in any tile or entry, a missing one, another log: refused', async () => {
  const log = emptyLog()
  await append({ log, from: 0, to: 300 })
  const files = await published(log)
  const inUse = ['0/000', '0/001.p/44', '1/000.p/1', 'entries/000', 'entries/001.p/44']
  for (const key of [...inUse.map((name) => `tile/${name}`), 'checkpoint']) {
    const bytes = files.get(key)
    if (bytes === undefined) throw new Error(`${key} is not there`)
    for (const at of [2, Math.floor(bytes.length / 2), bytes.length - 2]) {
      const flipped = Uint8Array.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      const { exitCode } = await judged(new Map(files).set(key, flipped), log)
      expect(`${key} ${at}: ${exitCode}`).toBe(`${key} ${at}: 1`)
    }
    const missing = new Map(files)
    missing.delete(key)
    expect((await judged(missing, log)).exitCode).toBe(1)
  }
  const other = verifierKey(origin, publicKeyOf(derOf(memorySigner().trust.logKey)))
  expect((await judged(files, log, other)).exitCode).toBe(1)
  expect((await judged(files, log)).exitCode).toBe(0)
})
