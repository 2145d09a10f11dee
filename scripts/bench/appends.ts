import { execa } from 'execa'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pino from 'pino'
import { signerClient } from '../../signing/signer-client.ts'
import type { Signable } from '../../signing/statement.ts'
import { readTrust } from '../../signing/trust-files.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { eventually, root } from '../demo/kiln.ts'
import { home } from './bench-kiln.ts'
import { medianOf, type Figure, type Part } from './figure.ts'
import { timedS } from './timed.ts'

const rounds = 3
const single = 100
const batched = 2000
/** Decisions that are under way at once: a full batch. */
const together = 256
/** About what one decision's bundle weighs. */
const bundleBytes = 2500

/** Durable, acknowledged, read back: decisions by a signer process of its own, beside files with fsync. */
export const appends: Part = {
  names: ['appends_single_per_s', 'appends_batched_per_s'],
  limitS: 240,
  async measure() {
    const folder = join(home, 'appends')
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true })
    const stop = new AbortController()
    const signer = execa(process.execPath, [join(root, 'src/main/signer.ts')], {
      env: { KILN_HOME: folder, KILN_LOG_LEVEL: 'warn' },
      stdout: 'ignore',
      stderr: 'inherit',
      cancelSignal: stop.signal,
      reject: false,
    })
    try {
      return await compare(await openLog(folder), folder)
    } finally {
      stop.abort()
      await signer
      // What failed may still be writing, and is what counts.
      await rm(folder, { recursive: true, force: true, maxRetries: 5 }).catch(() => undefined)
    }
  },
}

async function openLog(folder: string): Promise<LedgerWriter> {
  const trust = await eventually('the signer writes its public keys', 30, () =>
    readTrust(join(folder, 'trust')).catch(() => undefined),
  )
  const socket = join(folder, 'run/signer.sock')
  const signer = signerClient({ socket, origin: trust.origin, timeoutMs: 30_000 })
  await eventually('the signer answers', 30, () =>
    signer.health().then(
      () => true,
      () => undefined,
    ),
  )
  const place = { root: join(folder, 'store') }
  return openLedger({
    store: openFolderStore(place),
    head: openFolderHead(place),
    signer,
    trust,
    logger: pino({ level: 'silent' }),
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
