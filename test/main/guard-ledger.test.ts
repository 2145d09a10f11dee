import { once } from 'node:events'
import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { deny, leaveOpen, promotion, succeed } from '../../scripts/state/changes.ts'
import { seal } from '../../scripts/state/artifacts.ts'
import { openRooms, type Rooms } from '../../scripts/state/rooms.ts'
import { freshnessBytes } from '../../signing/freshness.ts'
import { openKeys } from '../../signing/keys.ts'
import { signPayload } from '../../signing/sign.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { environmentName } from '../../src/domain/name.ts'
import { loadConfig } from '../../src/main/config.ts'
import { openGuardLedger } from '../../src/main/guard-ledger.ts'
import { imageIdOf } from '../../src/main/ledger-view.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { origin } from '../helpers/ledger-signer.ts'

// What the guard believes of a real ledger: the rooms write it, a server says how far it is.

const logger = pino({ level: 'silent' })
const [dev, stage] = [environmentName('hello', 'dev'), environmentName('hello', 'test')]
const minute = 60_000

let home: string
let rooms: Rooms
let server: Server
let ahead: number

beforeEach(async () => {
  ahead = 0
  home = await mkdtemp(join(tmpdir(), 'kiln-guard-'))
  rooms = await openRooms({ home, release: 'test' })
  server = createServer((_request, response) => {
    void said().then((text) => response.end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterEach(async () => {
  server.close()
  server.closeAllConnections()
  await rm(home, { recursive: true, force: true })
})

/** The server's word that the log is so now. */
async function said(): Promise<string> {
  const keys = await openKeys(rooms.paths.keys, origin)
  await rooms.ledger.refresh()
  const checkpoint = rooms.ledger.checkpoint()!.note
  const words = { time: new Date().toISOString(), checkpoint, epochs: {} }
  return JSON.stringify(await signPayload(freshnessBytes(words, origin), keys.roles.record))
}

/** A guard's process as it starts. */
function start() {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const config = loadConfig({ KILN_HOME: home, KILN_SERVER: `http://127.0.0.1:${port}` }, '/')
  return openGuardLedger(config, { logger, now: () => new Date(Date.now() + ahead) })
}

const pairs = async (guard: ReturnType<typeof start>) =>
  (await guard.admitted()).map(({ environment, digest }) => [environment, digest])
const imageOf = (digest: Digest) => imageIdOf(rooms.store, digest)

test('what may start is what the one rule admits: the active key, a pending one, nothing denied', async () => {
  const one = await seal(rooms, 'one')
  const two = await seal(rooms, 'two')
  const guard = start()
  expect(await pairs(guard)).toEqual([])
  expect(await guard.artifactsOf(await imageOf(one))).toEqual([one])
  expect(await guard.artifactsOf('sha256:of-somebody-else')).toEqual([])
  await succeed(rooms, dev, promotion(one))
  await succeed(rooms, stage, promotion(one))
  await leaveOpen(rooms, dev, promotion(two))
  expect(await pairs(guard)).toEqual([
    [dev, one],
    [dev, two],
    [stage, one],
  ])
  const [pair] = await guard.admitted()
  expect(await guard.content(pair!)).toMatchObject({
    imageId: await imageOf(one),
    definition: { environment: 'dev' },
  })
  await deny(rooms, one)
  expect(await pairs(guard)).toEqual([[dev, two]])
  // It stays an artifact of Kiln's: that is why it is refused.
  expect(await guard.artifactsOf(await imageOf(one))).toEqual([one])
})

test('what this host once saw denied stays so, whatever the ledger says', async () => {
  const one = await seal(rooms, 'one')
  await succeed(rooms, dev, promotion(one))
  const fence = await openFence({ folder: rooms.paths.host })
  await fence.deny([one])
  fence.close()
  expect(await pairs(start())).toEqual([])
})

test('while the server is away what it said last counts, and no longer than for a host', async () => {
  const one = await seal(rooms, 'one')
  await succeed(rooms, dev, promotion(one))
  expect(await pairs(start())).toEqual([[dev, one]])
  server.close()
  server.closeAllConnections()
  // After a restart too.
  const guard = start()
  ahead = 14 * minute
  expect(await pairs(guard)).toEqual([[dev, one]])
  ahead = 16 * minute
  await expect(guard.admitted()).rejects.toMatchObject({ code: 'not_fresh' })
  // Whether something is Kiln's is known all the same.
  expect(await guard.artifactsOf(await imageOf(one))).toEqual([one])
})

test('an older log than the host saw is not believed', async () => {
  await seal(rooms, 'one')
  await cp(rooms.paths.store, join(home, 'copy'), { recursive: true })
  await succeed(rooms, dev, promotion(await seal(rooms, 'two')))
  const { note } = rooms.ledger.checkpoint()!
  await writeFile(join(rooms.paths.host, 'checkpoint'), note)
  await rename(rooms.paths.store, join(home, 'newer'))
  await rename(join(home, 'copy'), rooms.paths.store)
  await expect(start().artifactsOf('sha256:x')).rejects.toMatchObject({ code: 'ledger_forked' })
})

test('a home that is not there yet admits nothing, and is read once it is', async () => {
  await rename(home, `${home}-later`)
  const guard = start()
  await expect(guard.admitted()).rejects.toThrow('no trust root')
  await expect(guard.artifactsOf('sha256:x')).rejects.toThrow('no trust root')
  await rm(home, { recursive: true, force: true })
  await rename(`${home}-later`, home)
  expect(await pairs(guard)).toEqual([])
})

test('a store that goes away later leaves what was read: an artifact stays one', async () => {
  const one = await seal(rooms, 'one')
  await succeed(rooms, dev, promotion(one))
  const guard = start()
  const image = await imageOf(one)
  await guard.admitted()
  await rename(rooms.paths.store, join(home, 'away'))
  expect(await guard.artifactsOf(image)).toEqual([one])
  await expect(guard.admitted()).rejects.toMatchObject({ code: 'ledger_forked' })
})
