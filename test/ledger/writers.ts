import { join } from 'node:path'
import { pino } from 'pino'
import type { Signable } from '../../signing/statement.ts'
import {
  openLedger,
  type LedgerWriter,
  type LedgerWriterDeps,
} from '../../src/ledger/ledger-writer.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import type { S3Settings } from '../../src/store/s3-client.ts'

/** What the processes of the crash tests do, for the one that is killed and for the one that goes on. */

export type Decision = { id: string; signable: Signable }
type Options = Pick<LedgerWriterDeps, 'signer' | 'trust' | 'crashPoint'>
type Writers = { writers: LedgerWriter[]; release: () => void }

/** The one writer of a folder below the root, which it locks; or two at once in a bucket. */
export async function openWriters(
  place: { root: string } | { bucket: S3Settings },
  options: Options,
): Promise<Writers> {
  const deps = { ...options, logger: pino({ level: 'silent' }) }
  return 'root' in place ? inFolder(place.root, deps) : inBucket(place.bucket, deps)
}

type Deps = Omit<LedgerWriterDeps, 'store' | 'head'>

async function inFolder(at: string, deps: Deps): Promise<Writers> {
  const root = join(at, 'store')
  const { release } = await lockFolder(root)
  const place = { store: openFolderStore({ root }), head: openFolderHead({ root }) }
  return { writers: [openLedger({ ...place, ...deps })], release }
}

/** Loaded only where it is used: AWS's modules are most of what a process would begin with. */
async function inBucket(settings: S3Settings, deps: Deps): Promise<Writers> {
  const [{ openS3Head }, { openS3Store }] = await Promise.all([
    import('../../src/store/s3-head.ts'),
    import('../../src/store/s3-store.ts'),
  ])
  const writers = [1, 2].map(() =>
    openLedger({ store: openS3Store(settings), head: openS3Head(settings), ...deps }),
  )
  return { writers, release: () => {} }
}

type Asked = { writers: readonly LedgerWriter[]; decisions: readonly Decision[]; atOnce: number }

/** Says `<id> <leaf> <index>` of each that was acknowledged. */
export async function decideAll(
  { writers, decisions, atOnce }: Asked,
  say: (line: string) => void,
): Promise<void> {
  async function decide(decision: Decision): Promise<void> {
    const writer = writers[Number(decision.id) % writers.length] as LedgerWriter
    const { leaf, index } = await writer.decide(decision)
    say(`${decision.id} ${leaf} ${index}`)
  }
  // The first alone, so that it is acknowledged when a later one dies.
  const [first, ...rest] = decisions
  if (first !== undefined) await decide(first)
  for (let next = 0; next < rest.length; next += atOnce)
    await Promise.all(rest.slice(next, next + atOnce).map(decide))
}
