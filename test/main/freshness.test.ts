import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { freshnessBytes, type Freshness } from '../../signing/freshness.ts'
import { signPayload } from '../../signing/sign.ts'
import { startSigner, type SignerServer } from '../../signing/signer-server.ts'
import { signerClient, type SignerClient } from '../../signing/signer-client.ts'
import { openKeys } from '../../signing/keys.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { createAdmission } from '../../src/main/admission.ts'
import { createSigningKeys } from '../../src/main/signing-keys.ts'
import { loadConfig } from '../../src/main/config.ts'
import { readHostAlarm } from '../../src/main/host-alarm.ts'
import { openHostFreshness } from '../../src/main/host-freshness.ts'
import { sayFresh } from '../../src/main/say-fresh.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { startTcpProxy, type TcpProxy } from '../../scripts/chaos/tcp-proxy.ts'
import { memoryPorts, startTestApi } from '../helpers/api-ports.ts'
import { example } from '../signing/examples.ts'

/** A real signer, ledger, API and host's memory, a line between the two that can be cut, and clocks that tests set. */

const logger = pino({ level: 'silent' })
const origin = 'kiln.local'
const minute = 60_000

let folder: string
let signer: SignerServer
let client: SignerClient
let ledger: LedgerWriter
let api: Awaited<ReturnType<typeof startTestApi>>
let line: TcpProxy
/** What the server's answer is made of; another one than the true one where a test lies. */
let answer: () => Promise<string>
/** Milliseconds that a clock is ahead of the machine's. */
let serverAhead: number
let hostAhead: number

const serverNow = () => new Date(Date.now() + serverAhead)
const hostNow = () => new Date(Date.now() + hostAhead)
const paths = () => loadConfig({ KILN_HOME: folder }, '/').paths

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-fresh-'))
  serverAhead = 0
  hostAhead = 0
  const at = { directory: join(folder, 'keys'), socket: join(folder, 'signer.sock'), origin }
  signer = await startSigner({ ...at, lock: lockFolder, now: serverNow, logger })
  client = signerClient({ ...at, timeoutMs: 30_000 })
  const place = { root: join(folder, 'store') }
  const stores = { store: openFolderStore(place), head: openFolderHead(place) }
  ledger = openLedger({ ...stores, signer: client, trust: signer.trust, logger })
  await ledger.decide({ id: 'roles', signable: { ...example('roles'), trust: signer.trust } })
  const fresh = sayFresh({ ledger, signer: client, everyMs: minute, now: serverNow, logger })
  answer = fresh.newest
  const ports = memoryPorts()
  api = await startTestApi({ ...ports, ledger: { ...ports.ledger, freshness: () => answer() } })
  fresh.close()
  line = await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(api.address).port) })
})

afterEach(async () => {
  await line.close().catch(() => undefined)
  await api.app.close()
  await signer.close()
  await rm(folder, { recursive: true, force: true })
})

/** The host's process as it starts: what it remembers is on its disk. */
async function startHost(store = join(folder, 'store')) {
  const config = loadConfig(
    { KILN_HOME: folder, KILN_SERVER: `http://127.0.0.1:${line.port}` },
    '/',
  )
  await mkdir(config.paths.host, { recursive: true })
  const place = { root: store }
  const { trust } = signer
  const stores = { store: openFolderStore(place), head: openFolderHead(place) }
  const reader = openLedgerReader({ ...stores, trust, logger })
  await reader.refresh()
  const fresh = await openHostFreshness(config, { reader }, { logger, now: hostNow })
  const memory = { deny: async () => undefined, demandFresh: fresh.demand }
  const admission = createAdmission({ store: stores.store, reader }, memory)
  const start = () => admission.check(asked)
  return { ...fresh, start }
}

const asked = {
  environment: 'hello/prod',
  digest: `sha256:${'ab'.repeat(32)}`,
  definition: `sha256:${'cd'.repeat(32)}`,
  key: 'ef'.repeat(32),
  seen: { epoch: 0, sequence: 0 },
} as unknown as Parameters<ReturnType<typeof createAdmission>['check']>[0]

/** The key is not in the log: that the question came so far shows that the log was fresh. */
const judged = { code: 'not_found' }
const notFresh = { code: 'not_fresh' }

test('a host that is cut off from the server starts for as long as its limit, then nothing, and says so', async () => {
  const host = await startHost()
  await expect(host.start()).rejects.toMatchObject(judged)
  await line.close()
  hostAhead = 14 * minute
  await expect(host.start()).rejects.toMatchObject(judged)
  expect(readHostAlarm(paths().hostAlarm)).toBeNull()
  hostAhead = 16 * minute
  await expect(host.start()).rejects.toMatchObject(notFresh)
  expect(readHostAlarm(paths().hostAlarm)?.message).toMatch(/starts nothing.*more than 900 s ago/)
})

test('the word of before counts after a restart; a host whose memory was wiped is told anew first', async () => {
  await (await startHost()).demand()
  await line.close()
  await (await startHost()).demand()
  await rm(join(paths().host), { recursive: true })
  const wiped = await startHost()
  await expect(wiped.start()).rejects.toMatchObject(notFresh)
  expect(readHostAlarm(paths().hostAlarm)?.message).toContain('nobody has told it')
  line = await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(api.address).port) })
  await expect((await startHost()).start()).rejects.toMatchObject(judged)
  expect(readHostAlarm(paths().hostAlarm)).toBeNull()
})

test('what is on its disk and damaged counts as nothing', async () => {
  await (await startHost()).demand()
  await writeFile(join(paths().host, 'freshness'), '{"version":1,"bundle":{}}')
  await line.close()
  await expect((await startHost()).demand()).rejects.toMatchObject(notFresh)
})

test.each([
  ['behind the server by more than five minutes', -6 * minute, /the server says that it is/],
  ['ahead of it by more than the limit', 16 * minute, /more than 900 s ago/],
])('a host whose clock is %s starts nothing', async (_what, ahead, message) => {
  hostAhead = ahead
  const host = await startHost()
  await expect(host.start()).rejects.toMatchObject({
    ...notFresh,
    message: expect.stringMatching(message),
  })
  hostAhead = 0
  await expect(host.start()).rejects.toMatchObject(judged)
})

test('a clock that goes back behind what the host was told makes nothing young again', async () => {
  const host = await startHost()
  await host.demand()
  await line.close()
  hostAhead = -6 * minute
  await expect(host.demand()).rejects.toThrow('its clock is behind')
})

test('an old answer that comes again makes nothing young again', async () => {
  const host = await startHost()
  await host.demand()
  const old = await answer()
  answer = async () => old
  serverAhead = 16 * minute
  hostAhead = 16 * minute
  await expect(host.demand()).rejects.toMatchObject(notFresh)
})

test('a host that reads an old copy of the store starts nothing', async () => {
  await cp(join(folder, 'store'), join(folder, 'copy'), { recursive: true })
  await ledger.decide({ id: '1', signable: example('drift', 1) })
  const host = await startHost(join(folder, 'copy'))
  await expect(host.start()).rejects.toThrow('the store that this host reads has fewer')
  await expect((await startHost()).start()).rejects.toMatchObject(judged)
})

async function lie(change: Partial<Freshness>, root?: Uint8Array): Promise<string> {
  const keys = await openKeys(join(folder, 'keys'), origin)
  const head = ledger.checkpoint()!
  const checkpoint =
    root === undefined ? head.note : signCheckpoint({ origin, size: head.size, root }, keys.log)
  const said: Freshness = { time: hostNow().toISOString(), checkpoint, epochs: {}, ...change }
  return JSON.stringify(await signPayload(freshnessBytes(said, origin), keys.roles.record))
}

test.each<[string, () => Promise<string>, RegExp]>([
  ['of another log', () => lie({}, Buffer.alloc(32, 7)), /speaks of another log/],
  [
    'of an epoch that the log does not have',
    () => lie({ epochs: { 'hello/prod': 2 } }),
    /says epoch 2/,
  ],
  [
    'of a later time',
    () => lie({ time: new Date(Date.now() + 6 * minute).toISOString() }),
    /the server says that it is/,
  ],
])('a word of the server %s stops what was fresh before', async (_what, told, message) => {
  const host = await startHost()
  await host.demand()
  const lies = await told()
  answer = async () => lies
  const stop = new AbortController()
  const watching = host.watch(stop.signal)
  await expect.poll(() => readHostAlarm(paths().hostAlarm)?.message).toMatch(message)
  await expect(host.start()).rejects.toMatchObject(notFresh)
  stop.abort()
  await watching
})

test('a record key that was followed vouches no more, and a host hears the new one at once', async () => {
  const host = await startHost()
  await host.demand()
  const old = await answer()
  const signing = createSigningKeys({ ledger, signer: client })
  const before = (await signing.list()).find(({ role }) => role === 'record')!
  const by = { id: '0'.repeat(32), principal: { name: 'ann', kind: 'token' } } as const
  await signing.rotate(by, { role: 'record', replaces: before.fingerprint, kms: null })
  serverAhead = 16 * minute
  hostAhead = 16 * minute
  await expect(host.start()).rejects.toMatchObject(judged)
  hostAhead = 0
  serverAhead = 0
  answer = async () => old
  await rm(join(paths().host), { recursive: true })
  await expect((await startHost()).start()).rejects.toMatchObject(notFresh)
})

test('what nobody signed, on the way between the two, is no news', async () => {
  const host = await startHost()
  await host.demand()
  answer = async () => '{"dsseEnvelope": {}}'
  await expect(host.start()).rejects.toMatchObject(judged)
})

test('the server says each minute anew, also while batches are appended', async () => {
  const first = await answer()
  expect(await answer()).toBe(first)
  serverAhead = 61_000
  const many = Array.from({ length: 40 }, (_, n) =>
    ledger.decide({ id: `many ${n}`, signable: example('drift', n) }),
  )
  const [next] = await Promise.all([answer(), ...many])
  expect(next).not.toBe(first)
})
