import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import { rootOf } from '../../signing/merkle.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { readTiles } from '../../src/ledger/tiles.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { readFolderHead } from '../../src/store/folder-head.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { scratch } from '../helpers/store-scratch.ts'

type Acknowledged = Map<string, string>

/** Runs a writer to its end or its death. */
async function write(root: string, point: string, ids: readonly string[]) {
  const script = resolve(import.meta.dirname, 'writer-process.ts')
  const child = spawn(process.execPath, [script, root, point, ...ids], {
    stdio: ['ignore', 'pipe', 'inherit'],
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
async function checkpoints(root: string) {
  const head = await readFolderHead({ root: join(root, 'store') }).read()
  const last = await (await folderSigner(join(root, 'keys'))).lastCheckpoint()
  return [head && Buffer.from(head.bytes).toString(), last?.note].flatMap((note) =>
    note === undefined ? [] : [parseCheckpoint(note).checkpoint],
  )
}

test.each([
  ['ledger.checkpoint-signed', 0],
  ['ledger.head-swapped', 0],
  ['after:ledger.bundle-stored', 1],
  ['after:ledger.staged', 1],
  ['after:ledger.checkpoint-signed', 1],
  ['after:ledger.tiles-stored', 1],
  ['after:ledger.head-swapped', 1],
])(
  'kill -9 at %s loses nothing that was acknowledged and doubles nothing',
  async (point, heard) => {
    const root = scratch()
    const killed = await write(root, point, ['1', '2', '3', '4'])
    expect(killed.signal).toBe('SIGKILL')
    expect(killed.acknowledged.size).toBe(heard)
    const seen = await checkpoints(root)

    // The retry comes in another order, and with something new before the old.
    const after = await write(root, '-', ['5', '4', '2', '3', '1'])
    expect(after.code).toBe(0)
    for (const [id, line] of killed.acknowledged) expect(after.acknowledged.get(id)).toBe(line)

    const store = openFolderStore({ root: join(root, 'store') })
    const head = readFolderHead({ root: join(root, 'store') })
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
