import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import { rootOf } from '../../signing/merkle.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { readTiles } from '../../src/ledger/tiles.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { bucketOnMoto } from '../helpers/moto.ts'
import { startGateway, type Bucket } from '../helpers/s3-gateway.ts'
import { example } from '../signing/examples.ts'

test.each([
  { name: 'versitygw', start: startGateway as () => Promise<Bucket> },
  { name: 'moto', start: bucketOnMoto },
])(
  'two writers over one bucket of $name never fork, and log each decision once',
  async ({ start }) => {
    const bucket = await start()
    onTestFinished(() => bucket.stop())
    const settings = bucket.settings()
    const signer = memorySigner()
    const { trust } = signer
    const open = () => ({
      store: openS3Store(settings),
      head: openS3Head(settings),
      signer,
      trust,
      logger: pino({ level: 'silent' }),
    })
    const writers = [openLedger(open()), openLedger(open())]
    const decided = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        writers[n % 2]!.decide({ id: `${n % 40}`, signable: example('drift', n % 40) }),
      ),
    )
    expect(new Set(decided.map(({ leaf }) => leaf)).size).toBe(40)
    const deps = open()
    const reader = openLedgerReader(deps)
    await reader.refresh()
    expect(reader.facts()).toHaveLength(40)
    const hashes: Uint8Array[] = []
    for await (const tile of readTiles(deps.store, 0, { from: 0, to: 40 })) hashes.push(...tile)
    for (const note of signer.notes) {
      const { size, root } = parseCheckpoint(note).checkpoint
      expect(Buffer.from(rootOf(hashes.slice(0, size))).equals(Buffer.from(root))).toBe(true)
    }
    expect((await fsck(deps)).problems).toEqual([])
  },
  60_000,
)
