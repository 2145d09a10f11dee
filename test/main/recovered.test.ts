import { mkdtempSync, rmSync, writeFileSync, cpSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { emptyState, inState, joining, withPort, type EdgeServer } from '../../src/edge/state.ts'
import { withFreePort } from '../../src/edge/edge.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { loadConfig } from '../../src/main/config.ts'
import { absentAtEdge } from '../../src/main/edge-watch.ts'
import { openObjectStore } from '../../src/main/object-store.ts'
import { readSeen, remembering } from '../../src/main/seen-checkpoint.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { FactLog } from '../helpers/facts.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })
const prod = 'hello/prod' as never

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kiln-recovered-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function ledgerIn(folder: string, store = 'store') {
  const signer = await folderSigner(join(folder, 'keys'))
  const root = join(folder, store)
  const deps = { store: openFolderStore({ root }), head: openFolderHead({ root }) }
  return openLedger({ ...deps, signer, trust: signer.trust, logger })
}

test('a host that lost its memory takes it from the ledger, and then obeys no older order', async () => {
  const folder = scratch()
  const fence = await openFence({ folder })
  await fence.learn([{ environment: prod, epoch: 7, sequence: 3 }])
  expect(fence.environments()).toEqual([prod])
  expect(() => fence.assertCurrent({ environment: prod, epoch: 6, change: 'c' })).toThrow('is over')
  fence.assertCurrent({ environment: prod, epoch: 7, change: 'c' })
  fence.close()
  const again = await openFence({ folder })
  expect(again.record(prod)).toMatchObject({ epoch: 7, sequence: 3 })
  again.close()
})

test.each([
  { epoch: 6, sequence: 3 },
  { epoch: 7, sequence: 2 },
])('a ledger that ends before what the host did is refused: $epoch, $sequence', async (older) => {
  const folder = scratch()
  const fence = await openFence({ folder })
  await fence.learn([{ environment: prod, epoch: 7, sequence: 3 }])
  const other = { environment: 'hello/dev' as never, epoch: 9, sequence: 9 }
  await expect(fence.learn([other, { environment: prod, ...older }])).rejects.toMatchObject({
    code: 'ledger_forked',
  })
  expect(fence.environments()).toEqual([prod])
  fence.close()
})

test('a store older than what the signer remembers is refused before anything is decided', async () => {
  const folder = scratch()
  const ledger = await ledgerIn(folder)
  await ledger.decide({ id: '1', signable: example('refusal', 1) })
  cpSync(join(folder, 'store'), join(folder, 'old'), { recursive: true })
  await ledger.decide({ id: '2', signable: example('refusal', 2) })
  const old = await ledgerIn(folder, 'old')
  await expect(old.complete()).rejects.toMatchObject({
    code: 'ledger_corrupt',
    fix: expect.stringContaining('older than what the signer remembers') as string,
  })
  await (await ledgerIn(folder)).complete()
})

test('a reader keeps what it was shown: an older log is refused by the next run too', async () => {
  const folder = scratch()
  const ledger = await ledgerIn(folder)
  await ledger.decide({ id: '1', signable: example('refusal', 1) })
  cpSync(join(folder, 'store'), join(folder, 'old'), { recursive: true })
  await ledger.decide({ id: '2', signable: example('refusal', 2) })
  const memory = join(folder, 'checkpoint')
  const { trust } = await folderSigner(join(folder, 'keys'))
  const open = async (name: string) => {
    const root = join(folder, name)
    const seen = await readSeen(memory)
    const known = seen === undefined ? {} : { seen }
    const deps = { store: openFolderStore({ root }), head: openFolderHead({ root }), trust, logger }
    return remembering(openLedgerReader({ ...deps, ...known }), memory)
  }
  await (await open('old')).refresh()
  await (await open('store')).refresh()
  await expect((await open('old')).refresh()).rejects.toMatchObject({ code: 'ledger_forked' })
  await (await open('store')).refresh()
})

function server(name: string): EdgeServer {
  const place = { name, address: '10.0.0.2', port: 8080, path: '/' }
  return { ...place, intervalMs: 1000, drainMs: 1000, state: 'joining' }
}

test('what should serve and is not at the edge is seen; what is there, or in a change, is not', () => {
  const log = new FactLog()
  const state = {
    environment: prod,
    active: {} as never,
    open: null,
    running: [
      { name: 'a', id: '1' },
      { name: 'b', id: '2' },
    ],
  }
  const ledger = (more: object) =>
    ({ ...log.ledger, environments: new Map([[prod, { ...state, ...more } as never]]) }) as never
  expect(absentAtEdge(ledger({}), emptyState).get(prod)).toMatchObject({ cause: 'unknown' })
  expect(absentAtEdge(ledger({ open: {} }), emptyState).size).toBe(0)
  expect(absentAtEdge(ledger({ active: null }), emptyState).size).toBe(0)
  const at = joining(withPort(emptyState, prod, 20_000), prod, [server('a'), server('b')])
  const ready = (names: string[]) => inState(at, prod, { names, state: 'ready' })
  expect(absentAtEdge(ledger({}), ready(['a'])).get(prod)).toMatchObject({
    found: '1 of 2 instances at the edge',
  })
  expect(absentAtEdge(ledger({}), ready(['a', 'b'])).size).toBe(0)
})

test('an environment comes back to the port of its place, in whatever order they come', async () => {
  const range = { first: 23_400, last: 23_410 }
  const second = 'hello/test' as never
  const late = await withFreePort(emptyState, second, { ...range, place: 1 })
  const both = await withFreePort(late, prod, { ...range, place: 0 })
  expect(both.environments.map(({ environment, port }) => [environment, port])).toEqual([
    [prod, 23_400],
    [second, 23_401],
  ])
})

test('a bucket is named by settings, its credentials by a file that is closed', () => {
  const folder = scratch()
  const file = join(folder, 's3.json')
  const env = {
    KILN_STORE: 's3://bucket/a/b',
    KILN_S3_ENDPOINT: 'http://127.0.0.1:9',
    KILN_S3_CREDENTIALS: file,
  }
  expect(() => loadConfig({ KILN_STORE: 's3://bucket' }, folder)).toThrow('needs credentials')
  expect(() => loadConfig({ KILN_STORE: '/srv/store' }, folder)).toThrow('s3://<bucket>/<prefix>')
  const { store } = loadConfig(env, folder)
  expect(store).toMatchObject({ kind: 's3', bucket: 'bucket', prefix: 'a/b', region: 'us-east-1' })
  expect(() => openObjectStore(store)).toThrow('cannot be read')
  writeFileSync(file, '{"accessKeyId":"a","secretAccessKey":"hush"}', { mode: 0o644 })
  expect(() => openObjectStore(store)).toThrow('open to other users')
  rmSync(file)
  writeFileSync(file, '{"accessKeyId":"a","secret":"hush"}', { mode: 0o600 })
  expect(() => openObjectStore(store)).toThrow(/^((?!hush).)*$/)
  rmSync(file)
  writeFileSync(file, '{"accessKeyId":"a","secretAccessKey":"hush"}', { mode: 0o600 })
  expect(openObjectStore(store).place).toBe('s3://bucket/a/b')
})
