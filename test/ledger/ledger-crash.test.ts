import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import { rootOf } from '../../signing/merkle.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { readTiles } from '../../src/ledger/tiles.ts'
import type { BlobStore, HeadStore } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { readFolderHead } from '../../src/store/folder-head.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { startGateway, type Gateway } from '../helpers/s3-gateway.ts'
import { scratch } from '../helpers/store-scratch.ts'

type Acknowledged = Map<string, string>

/** Where a log is: how it is read here, and what tells the process that writes it. */
type Place = {
  root: string
  store: BlobStore
  head: Pick<HeadStore, 'read'>
  environment: Record<string, string>
}

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

function inBucket(): Place {
  const settings = gateway.settings()
  return {
    root: scratch(),
    store: openS3Store(settings),
    head: openS3Head(settings),
    environment: { KILN_TEST_S3: JSON.stringify(settings) },
  }
}

/** Runs a process of writers to its end or its death. */
async function write({ root, environment }: Place, point: string, ids: readonly string[]) {
  const script = resolve(import.meta.dirname, 'writer-process.ts')
  const child = spawn(process.execPath, [script, root, point, ...ids], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  })
  let output = ''
  child.stdout.on('data', (text) => {
    output += String(text)
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  const acknowledged: Acknowledged = new Map(
    output
      .split('\n')
      .filter(Boolean)
      .map((line) => [line.slice(0, line.indexOf(' ')), line]),
  )
  return { code, signal, acknowledged }
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
      const killed = await write(place, point, ['1', '2', '3', '4'])
      expect(killed.signal).toBe('SIGKILL')
      expect(killed.acknowledged.size).toBe(heard)
      const seen = await checkpoints(place)

      // The retry comes in another order, and with something new before the old.
      const after = await write(place, '-', ['5', '4', '2', '3', '1'])
      expect(after.code).toBe(0)
      for (const [id, line] of killed.acknowledged) expect(after.acknowledged.get(id)).toBe(line)

      const { trust } = await folderSigner(join(root, 'keys'))
      const reader = openLedgerReader({ store, head, trust, logger: pino({ level: 'silent' }) })
      await reader.refresh()
      const logged = reader.facts().map(({ leaf, index }) => `${leaf} ${index}`)
      expect(logged).toHaveLength(5)
      expect(
        [...after.acknowledged].map(([id, line]) => line.slice(id.length + 1)).toSorted(),
      ).toEqual(logged.toSorted())

      const hashes: Uint8Array[] = []
      for await (const tile of readTiles(store, 0, { from: 0, to: 5 })) hashes.push(...tile)
      for (const { size, root: signed } of seen) {
        expect(Buffer.from(rootOf(hashes.slice(0, size))).equals(Buffer.from(signed))).toBe(true)
      }
      expect((await fsck({ store, head, trust })).problems).toEqual([])
    },
  )
})
