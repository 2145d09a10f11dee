import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import { rootOf } from '../../signing/merkle.ts'
import { signerClient } from '../../signing/signer-client.ts'
import { startSigner } from '../../signing/signer-server.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { readTiles } from '../../src/ledger/tiles.ts'
import type { BlobStore, HeadStore } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { readFolderHead } from '../../src/store/folder-head.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import type { S3Settings } from '../../src/store/s3-client.ts'
import { folderSigner, origin } from '../helpers/ledger-signer.ts'
import { startGateway, type Gateway } from '../helpers/s3-gateway.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from '../signing/examples.ts'
import { decideAll, openWriters } from './writers.ts'

type Acknowledged = Map<string, string>

/** Where a log is: how it is read here, and what tells the process that writes it. */
type Place = {
  root: string
  bucket?: S3Settings
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  environment: Record<string, string>
}

const logger = pino({ level: 'silent' })

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway.stop())

function inFolder(): Place {
  const root = scratch()
  const place = { root: join(root, 'store') }
  return { root, store: openFolderStore(place), head: readFolderHead(place), environment: {} }
}

function inBucket(): Place & { head: HeadStore } {
  const settings = gateway.settings()
  return {
    root: scratch(),
    bucket: settings,
    store: openS3Store(settings),
    head: openS3Head(settings),
    environment: { KILN_TEST_S3: JSON.stringify(settings) },
  }
}

const decisionsOf = (ids: readonly string[]) =>
  ids.map((id) => ({ id, signable: example('drift', Number(id)) }))

function heardIn(lines: readonly string[]): Acknowledged {
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(' ')), line]))
}

/** The same as the process that died, by this one, which knows nothing of it but what is on the disk. */
async function goOn({ root, bucket }: Place, ids: readonly string[]): Promise<Acknowledged> {
  const signer = await folderSigner(join(root, 'keys'))
  const place = bucket === undefined ? { root } : { bucket }
  const { writers, release } = await openWriters(place, { signer, trust: signer.trust })
  const lines: string[] = []
  const decisions = decisionsOf(ids)
  await decideAll({ writers, decisions, atOnce: ids.length }, (line) => lines.push(line))
  release()
  return heardIn(lines)
}

/** A process of writers. `acknowledged`: how many decisions it said are on record so far. */
function startWriting({ root, environment }: Place, point: string, ids: readonly string[]) {
  const script = resolve(import.meta.dirname, 'writer-process.ts')
  const file = join(scratch(), 'decisions.json')
  writeFileSync(file, JSON.stringify(decisionsOf(ids)))
  const child = spawn(process.execPath, [script, root, point, file], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (text) => {
    output += String(text)
  })
  const lines = () => output.split('\n').filter((line) => line.includes(' '))
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => ({
    code,
    signal,
    acknowledged: heardIn(lines()),
  }))
  return {
    ended,
    isReady: () => output.startsWith('ready'),
    go: () => child.stdin.end('go'),
    acknowledged: () => lines().length,
    kill: () => child.kill('SIGKILL'),
  }
}

/** The checkpoint at the head and the one signed last, which may be ahead. */
async function checkpoints({ root, head: place }: Place) {
  const head = await place.read()
  const last = await (await folderSigner(join(root, 'keys'))).lastCheckpoint()
  return [head && Buffer.from(head.bytes).toString(), last?.note].flatMap((note) =>
    note === undefined ? [] : [parseCheckpoint(note).checkpoint],
  )
}

const points = [
  ['ledger.checkpoint-signed', 0],
  ['ledger.head-swapped', 0],
  ['after:ledger.decision-stored', 1],
  ['after:ledger.bundle-stored', 1],
  ['after:ledger.staged', 1],
  ['after:ledger.checkpoint-signed', 1],
  ['after:ledger.tiles-stored', 1],
  ['after:ledger.head-swapped', 1],
] as const

describe.each([
  { name: 'a folder', open: inFolder },
  { name: 'a bucket with two writers at once', open: inBucket },
])('in $name', ({ open }) => {
  test.each(points)(
    'kill -9 at %s loses nothing that was acknowledged and doubles nothing',
    async (point, heard) => {
      const place = open()
      const { root, store, head } = place
      const killed = await startWriting(place, point, ['1', '2', '3', '4']).ended
      expect(killed.signal).toBe('SIGKILL')
      expect(killed.acknowledged.size).toBe(heard)
      const seen = await checkpoints(place)

      // The retry comes in another order, and with something new before the old.
      const after = await goOn(place, ['5', '4', '2', '3', '1'])
      for (const [id, line] of killed.acknowledged) expect(after.get(id)).toBe(line)

      const { trust } = await folderSigner(join(root, 'keys'))
      const reader = openLedgerReader({ store, head, trust, logger })
      await reader.refresh()
      const logged = reader.facts().map(({ leaf, index }) => `${leaf} ${index}`)
      expect(logged).toHaveLength(5)
      expect([...after].map(([id, line]) => line.slice(id.length + 1)).toSorted()).toEqual(
        logged.toSorted(),
      )

      const hashes: Uint8Array[] = []
      for await (const tile of readTiles(store, 0, { from: 0, to: 5 })) hashes.push(...tile)
      for (const { size, root: signed } of seen) {
        expect(Buffer.from(rootOf(hashes.slice(0, size))).equals(Buffer.from(signed))).toBe(true)
      }
      expect((await fsck({ store, head, trust })).problems).toEqual([])
    },
  )
})

/** The test owns the folder alone. */
const lock = async () => ({ release: () => {} })

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, n) => String(from + n))
}

test('two processes over one bucket and one signer, of which one is killed at any moment: nothing acknowledged is lost or twice, and the other goes on', async () => {
  const at = inBucket()
  const [socket, directory] = [join(at.root, 'signer.sock'), join(at.root, 'keys')]
  const signer = await startSigner({
    socket,
    directory,
    origin,
    lock,
    now: () => new Date(),
    logger,
  })
  onTestFinished(() => signer.close())
  const { trust } = signer
  const shared = { KILN_TEST_SIGNER: JSON.stringify({ socket, trust }) }
  const place = { ...at, environment: { ...at.environment, ...shared } }

  // Some decisions are asked of both; one of the two is far from its end when it dies.
  const dying = startWriting(place, '-', numbers(10, 400))
  const living = startWriting(place, '-', numbers(0, 40))
  for (const { isReady } of [dying, living])
    await expect.poll(isReady, { timeout: 30_000 }).toBe(true)
  for (const { go } of [dying, living]) go()
  await expect.poll(dying.acknowledged, { timeout: 30_000 }).toBeGreaterThan(3)
  dying.kill()
  const killed = await dying.ended
  const before = living.acknowledged()
  const lived = await living.ended
  expect([killed.signal, lived.code, lived.acknowledged.size]).toEqual(['SIGKILL', 0, 40])
  expect(before).toBeLessThan(40)

  // What the dead one had begun is asked of the next server; in flight were three at most.
  const client = signerClient({ socket, origin, timeoutMs: 30_000 })
  const { store, head } = at
  const next = openLedger({ store, head, signer: client, trust, logger })
  await next.complete()
  const begun = numbers(10, 10 + killed.acknowledged.size + 3)
  const repeated = await Promise.all(
    begun.map(async (id) => {
      const { leaf, index } = await next.decide({ id, signable: example('drift', Number(id)) })
      return `${id} ${leaf} ${index}`
    }),
  )
  expect(repeated).toEqual(expect.arrayContaining([...killed.acknowledged.values()]))
  const all = new Set([
    ...lived.acknowledged.values(),
    ...killed.acknowledged.values(),
    ...repeated,
  ])
  const facts = next.facts().map(({ leaf, index }) => `${leaf} ${index}`)
  expect([...all].map((line) => line.slice(line.indexOf(' ') + 1)).toSorted()).toEqual(
    facts.toSorted(),
  )
  expect(facts).toHaveLength(Math.max(40, 10 + begun.length))
  expect((await fsck({ store, head, trust })).problems).toEqual([])
})
