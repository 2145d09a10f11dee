import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import {
  startAnswerProxy,
  storeEffects,
  type AnswerProxy,
} from '../../scripts/chaos/answer-proxy.ts'
import { factsOf } from '../../scripts/chaos/checker/facts.ts'
import { readLog } from '../../scripts/chaos/checker/log.ts'
import { oncePerDecision, onlyPrefixes } from '../../scripts/chaos/checker/of-the-log.ts'
import { startTcpProxy } from '../../scripts/chaos/tcp-proxy.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import { KilnError } from '../../src/domain/error.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import type { BlobStore, HeadStore } from '../../src/store/blob-store.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { startGateway } from '../helpers/s3-gateway.ts'
import { example } from '../signing/examples.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kiln-lost-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const decisions = 12

/** Logs decisions, each asked for until an answer arrives, as Temporal does; answers with the errors on the way. */
async function logAll({ store, head }: { store: BlobStore; head: HeadStore }) {
  const signer = memorySigner()
  const ledger = openLedger({
    store,
    head,
    signer,
    trust: signer.trust,
    logger: pino({ level: 'silent' }),
  })
  const errors: unknown[] = []
  const indexes: number[] = []
  for (let n = 0; n < decisions; n++) {
    for (let attempt = 1; indexes.length === n; attempt++) {
      try {
        const { index } = await ledger.decide({ id: `${n}`, signable: example('drift', n) })
        indexes.push(index)
      } catch (error) {
        errors.push(error)
        if (attempt > 20) throw error
      }
    }
  }
  return { signer, errors, indexes }
}

/** What the checker says of a store, copied to a folder where it is not one. */
async function judged(
  { store, head }: { store: BlobStore; head: HeadStore },
  signer: ReturnType<typeof memorySigner>,
) {
  const copy = join(folder, 'copy')
  await writeTrust(join(folder, 'trust'), signer.trust)
  for (const prefix of ['tile/', 'bundles/']) {
    for await (const key of store.list(prefix)) write(join(copy, key), (await store.get(key))!)
  }
  write(join(copy, 'head/000000000001'), (await head.read())!.bytes)
  const log = readLog({ store: copy, trust: join(folder, 'trust') })
  expect(log.faults).toEqual([])
  expect(log.entries).toHaveLength(decisions)
  return [onlyPrefixes(log, { checkpoints: signer.notes }), oncePerDecision(factsOf(log))]
}

function write(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, bytes)
}

const held = [
  { id: 'I3', verdict: 'held', evidence: [] },
  { id: 'I4', verdict: 'held', evidence: [] },
]
const inOrder = Array.from({ length: decisions }, (_, n) => n)

/** True for the first, third … time that something is asked. */
function everyOther(): (asked: string) => boolean {
  const times = new Map<string, number>()
  return (asked) => {
    times.set(asked, (times.get(asked) ?? 0) + 1)
    return times.get(asked)! % 2 === 1
  }
}

/** Every write of the folder happens; the answer to the first one of each is lost. */
function losing({ store, head }: { store: BlobStore; head: HeadStore }) {
  const isLost = everyOther()
  const lost = (what: string): void => {
    if (isLost(what)) throw new KilnError('store_unavailable', 'the answer was lost')
  }
  return {
    head: {
      ...head,
      async swap(...input: Parameters<HeadStore['swap']>) {
        const swapped = await head.swap(...input)
        lost(Buffer.from(input[1]).toString('hex'))
        return swapped
      },
    },
    store: {
      ...store,
      async put(...input: Parameters<BlobStore['put']>) {
        await store.put(...input)
        lost(input[0])
      },
    },
  }
}

test('a folder that writes and then cannot say so: each decision is on record once', async () => {
  const root = join(folder, 'store')
  const real = { store: openFolderStore({ root }), head: openFolderHead({ root }) }
  const faulty = losing(real)
  const { signer, errors, indexes } = await logAll(faulty)
  expect(errors.length).toBeGreaterThan(decisions)
  expect(indexes).toEqual(inOrder)
  expect(await judged(real, signer)).toMatchObject(held)
})

test('an object store whose answers are lost after the effect: each decision is on record once', async () => {
  const gateway = await startGateway()
  onTestFinished(() => gateway.stop())
  const settings = gateway.settings()
  const { hostname, port } = new URL(settings.endpoint)
  const proxy = await startAnswerProxy({
    socketPath: null,
    to: { host: hostname, port: Number(port) },
    effects: storeEffects,
    also: everyOther(),
  })
  onTestFinished(() => proxy.close())
  const through = { ...settings, endpoint: `http://127.0.0.1:${proxy.port}` }
  const { signer, indexes } = await logAll({
    store: openS3Store(through),
    head: openS3Head(through),
  })
  expect(proxy.dropped.length).toBeGreaterThan(decisions)
  expect(proxy.dropped.some((one) => one.endsWith('/head'))).toBe(true)
  expect(indexes).toEqual(inOrder)
  const direct = { store: openS3Store(settings), head: openS3Head(settings) }
  expect(await judged(direct, signer)).toMatchObject(held)
}, 120_000)

/** A server that counts what it was asked, with one proxy of each kind in front of it. */
async function counted(): Promise<{ server: Server; asked: string[]; port: number }> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.end('done')
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  onTestFinished(() => void server.close())
  return { server, asked, port: (server.address() as { port: number }).port }
}

const asking = (port: number, method: string) =>
  fetch(`http://127.0.0.1:${port}/thing`, { method }).then(
    (response) => response.text(),
    () => 'no answer',
  )

test('the proxy drops the answer of an armed effect, which happened, and nothing else', async () => {
  const { asked, port } = await counted()
  const proxy: AnswerProxy = await startAnswerProxy({
    socketPath: null,
    to: { host: '127.0.0.1', port },
    effects: [/^PUT /],
  })
  onTestFinished(() => proxy.close())
  expect(await asking(proxy.port, 'PUT')).toBe('done')
  proxy.arm(1)
  expect(await asking(proxy.port, 'GET')).toBe('done')
  expect(await asking(proxy.port, 'PUT')).toBe('no answer')
  expect(await asking(proxy.port, 'PUT')).toBe('done')
  expect(proxy.dropped).toEqual(['PUT /thing'])
  expect(asked).toEqual(['PUT /thing', 'GET /thing', 'PUT /thing', 'PUT /thing'])
})

test('the TCP proxy swallows answers while it drops, and cuts what was open', async () => {
  const { asked, port } = await counted()
  const proxy = await startTcpProxy({ host: '127.0.0.1', port })
  onTestFinished(() => proxy.close())
  expect(await asking(proxy.port, 'PUT')).toBe('done')
  const answer = asking(proxy.port, 'POST')
  const dropping = proxy.drop(500)
  // Sent before the drop or while it lasts: the server hears it either way.
  expect([await asking(proxy.port, 'PATCH'), await answer]).toContain('no answer')
  await dropping
  expect(proxy.swallowed()).toBeGreaterThan(0)
  expect(await asking(proxy.port, 'PUT')).toBe('done')
  expect(asked).toContain('PATCH /thing')
})
