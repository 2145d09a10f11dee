/**
 * A process of its own that decides: `node writer-process.ts <root> <crash point or -> <id>...`, in a
 * folder below the root, or with two writers at once in the bucket that `KILN_TEST_S3` gives (settings as
 * JSON). Prints `<id> <leaf> <index>` for each decision that was acknowledged. At the named point it is killed
 * by SIGKILL, or with `after:` before it, when it passes there again. With `KILN_TEST_SIGNER` (trust and socket as
 * JSON) the signer is another process, which other writers ask too; decisions come three at a time, and the first
 * when something comes over standard input, asked for by a line `ready`.
 */
import { once } from 'node:events'
import { join } from 'node:path'
import { pino } from 'pino'
import { signerClient } from '../../signing/signer-client.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import type { BlobStore, HeadStore } from '../../src/store/blob-store.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import type { S3Settings } from '../../src/store/s3-client.ts'
import { folderSigner, origin } from '../helpers/ledger-signer.ts'
import { example } from '../signing/examples.ts'

const [root = '', point = '', ...ids] = process.argv.slice(2)
const bucket = process.env['KILN_TEST_S3']
const shared = process.env['KILN_TEST_SIGNER']
const signer = shared === undefined ? await folderSigner(join(root, 'keys')) : clientOf(shared)
const atOnce = shared === undefined ? ids.length : 3
let passes = point.startsWith('after:') ? 2 : 1

function clientOf(text: string) {
  const { socket, trust } = JSON.parse(text) as { socket: string; trust: TrustRoot }
  return { ...signerClient({ socket, origin, timeoutMs: 30_000 }), trust }
}

function openWriter(place: { store: BlobStore; head: HeadStore }): LedgerWriter {
  return openLedger({
    ...place,
    signer,
    trust: signer.trust,
    logger: pino({ level: 'silent' }),
    crashPoint(name) {
      if (name !== point.replace('after:', '')) return
      passes -= 1
      if (passes === 0) process.kill(process.pid, 'SIGKILL')
    },
  })
}

async function inFolder(): Promise<LedgerWriter[]> {
  const folder = join(root, 'store')
  await lockFolder(folder)
  const place = { store: openFolderStore({ root: folder }), head: openFolderHead({ root: folder }) }
  return [openWriter(place)]
}

/** Loaded only where it is used: AWS's modules are most of what a process would begin with. */
async function inBucket(text: string): Promise<LedgerWriter[]> {
  const [{ openS3Head }, { openS3Store }] = await Promise.all([
    import('../../src/store/s3-head.ts'),
    import('../../src/store/s3-store.ts'),
  ])
  const settings = JSON.parse(text) as S3Settings
  return [1, 2].map(() => openWriter({ store: openS3Store(settings), head: openS3Head(settings) }))
}

const writers = await (bucket === undefined ? inFolder() : inBucket(bucket))

async function decide(id: string): Promise<void> {
  const writer = writers[Number(id) % writers.length] as LedgerWriter
  const { leaf, index } = await writer.decide({ id, signable: example('drift', Number(id)) })
  process.stdout.write(`${id} ${leaf} ${index}\n`)
}

if (shared !== undefined) {
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  process.stdin.destroy()
}
// The first alone, so that it is acknowledged when a later one dies.
const [first, ...rest] = ids
if (first !== undefined) await decide(first)
for (let next = 0; next < rest.length; next += atOnce)
  await Promise.all(rest.slice(next, next + atOnce).map(decide))
