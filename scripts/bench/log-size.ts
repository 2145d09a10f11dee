import { join } from 'node:path'
import { openAppender, type Appender } from '../../src/ledger/appender.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { home } from './bench-kiln.ts'
import { median, medianOf, rounded, type Figure, type Part } from './figure.ts'
import { withSigner, type OwnSigner } from './own-signer.ts'
import { say, timedMs } from './timed.ts'

const many = 1_000_000
/** Appends under way at once while the long log is made: forty full batches. */
const together = 10_240
const appends = 200
/** About what an entry weighs. */
const leafBytes = 200

/** An append to a log of a million entries, in turns with one to a log of one entry. */
export const logSize: Part = {
  names: ['append_at_1m_ms'],
  limitS: 900,
  measure: () =>
    withSigner(join(home, 'short-log'), (short) =>
      withSigner(join(home, 'long-log'), (long) => compare(logOf(short), logOf(long))),
    ),
}

function logOf({ folder, signer, trust }: OwnSigner): Appender {
  const place = { root: join(folder, 'store') }
  return openAppender({
    store: openFolderStore(place),
    head: openFolderHead(place),
    signer,
    trust,
    crashPoint: () => undefined,
  })
}

async function compare(short: Appender, long: Appender): Promise<Figure[]> {
  await short.append(leaf(0))
  for (let from = 0; from < many; from += together) {
    const count = Math.min(together, many - from)
    await Promise.all(Array.from({ length: count }, (_none, n) => long.append(leaf(from + n))))
    if (from % (together * 20) === 0) say(`  ${from} of ${many} entries`)
  }
  const [atOne, atMany]: [number[], number[]] = [[], []]
  for (let n = 0; n < appends; n++) {
    atOne.push(await timedMs(() => short.append(leaf(many + n))))
    atMany.push(await timedMs(() => long.append(leaf(many + n))))
  }
  return [
    medianOf({
      name: 'append_at_1m_ms',
      unit: 'ms',
      samples: atMany,
      baseline: { name: 'append_at_1_ms', samples: atOne },
      goal: { max: rounded(1.5 * median(atOne)) },
    }),
  ]
}

function leaf(n: number): Buffer {
  return Buffer.from(`entry ${n} `.padEnd(leafBytes, '-'))
}
