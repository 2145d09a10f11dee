import { open } from 'node:fs/promises'
import { join } from 'node:path'
import pino from 'pino'
import type { Signable } from '../../signing/statement.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import type { BlobStore, HeadStore } from '../../src/store/blob-store.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { startGateway } from '../../test/helpers/s3-gateway.ts'
import { home } from './bench-kiln.ts'
import { medianOf, type Figure, type Part } from './figure.ts'
import { withSigner, type OwnSigner } from './own-signer.ts'
import { timedS } from './timed.ts'

const rounds = 3
const single = 100
const batched = 2000
const batchedOnS3 = 500
/** Decisions that are under way at once: a full batch. */
const together = 256
/** About what one decision's bundle weighs. */
const bundleBytes = 2500

/** Durable, acknowledged, read back: decisions by a signer process of its own, beside files with fsync. */
export const appends: Part = {
  names: ['appends_single_per_s', 'appends_batched_per_s'],
  limitS: 240,
  measure: () =>
    withSigner(join(home, 'appends'), (own) => {
      const place = { root: join(own.folder, 'store') }
      const ledger = openLog(own, { store: openFolderStore(place), head: openFolderHead(place) })
      return compare(ledger, own.folder)
    }),
}

/** The same in a bucket, many at once, beside objects that are only put there. */
export const appendsOnS3: Part = {
  names: ['appends_s3_per_s'],
  limitS: 240,
  measure: () =>
    withSigner(join(home, 'appends-s3'), async (own) => {
      const gateway = await startGateway(own.folder)
      try {
        const settings = gateway.settings()
        const store = openS3Store(settings)
        return [await compareOnS3(openLog(own, { store, head: openS3Head(settings) }), store)]
      } finally {
        await gateway.stop()
      }
    }),
}

type Objects = { store: BlobStore; head: HeadStore }

function openLog({ signer, trust }: OwnSigner, objects: Objects): LedgerWriter {
  return openLedger({ ...objects, signer, trust, logger: pino({ level: 'silent' }) })
}

async function compareOnS3(ledger: LedgerWriter, store: BlobStore): Promise<Figure> {
  const samples: number[] = []
  const objects: number[] = []
  for (let round = 0; round < rounds; round++) {
    const decide = (n: number) => ledger.decide(refusal(`${round}-${n}`))
    const put = (n: number) => store.put(`bench/${round}/${n}`, Buffer.alloc(bundleBytes, 'k'))
    samples.push(await rate(batchedOnS3, (count) => manyAtOnce(count, decide)))
    objects.push(await rate(batchedOnS3, (count) => manyAtOnce(count, put)))
  }
  return medianOf({
    name: 'appends_s3_per_s',
    unit: '1/s',
    samples,
    baseline: { name: 'objects put into the same bucket, many at once', samples: objects },
  })
}

async function compare(ledger: LedgerWriter, folder: string): Promise<Figure[]> {
  const samples = { one: [] as number[], many: [] as number[] }
  const files = { one: [] as number[], many: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    const decide = (n: number) => ledger.decide(refusal(`${round}-${n}`))
    const write = (n: number) => writeDurably(join(folder, `file-${round}-${n}`))
    samples.one.push(await rate(single, (count) => oneByOne(count, decide)))
    files.one.push(await rate(single, (count) => oneByOne(count, write)))
    samples.many.push(await rate(batched, (count) => manyAtOnce(count, (n) => decide(single + n))))
    files.many.push(await rate(batched, (count) => manyAtOnce(count, (n) => write(single + n))))
  }
  return [
    medianOf({
      name: 'appends_single_per_s',
      unit: '1/s',
      samples: samples.one,
      baseline: { name: 'files written with fsync, one by one', samples: files.one },
    }),
    medianOf({
      name: 'appends_batched_per_s',
      unit: '1/s',
      samples: samples.many,
      baseline: { name: 'files written with fsync, many at once', samples: files.many },
      goal: { min: 500 },
    }),
  ]
}

async function rate(count: number, work: (count: number) => Promise<void>): Promise<number> {
  return count / (await timedS(() => work(count)))
}

async function oneByOne(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  for (let n = 0; n < count; n++) await work(n)
}

async function manyAtOnce(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: together }, worker))
}

async function writeDurably(path: string): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(Buffer.alloc(bundleBytes, 'k'))
    await file.sync()
  } finally {
    await file.close()
  }
}

function refusal(id: string): { id: string; signable: Signable } {
  return {
    id: `bench ${id}`,
    signable: {
      kind: 'refusal',
      time: new Date().toISOString(),
      artifact: null,
      body: {
        environment: 'bench/prod',
        change: `change-${id}`,
        rule: 'bench',
        message: 'a decision that only measures how fast decisions become durable',
        requestedBy: 'bench',
      },
    },
  }
}
