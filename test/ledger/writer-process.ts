/**
 * A process of its own that decides: `node writer-process.ts <root> <crash point or -> <decisions>`, a file of
 * `{id, signable}` as JSON, in a folder below the root, or with two writers at once in the bucket that
 * `KILN_TEST_S3` gives (settings as JSON). Prints `<id> <leaf> <index>` for each decision that was acknowledged.
 * At the named point it is killed by SIGKILL, or with `after:` before it, when it passes there again. With
 * `KILN_TEST_SIGNER` (trust and socket as JSON) the signer is another process, which other writers ask too;
 * decisions come three at a time, and the first when something comes over standard input, asked for by a line
 * `ready`. Most of what it costs is loading its modules: it loads what it needs and no more.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { signerClient } from '../../signing/signer-client.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import type { S3Settings } from '../../src/store/s3-client.ts'
import { folderSigner, origin } from '../helpers/ledger-signer.ts'
import { decideAll, openWriters, type Decision } from './writers.ts'

const [root = '', point = '', file = ''] = process.argv.slice(2)
const decisions = JSON.parse(readFileSync(file, 'utf8')) as Decision[]
const bucket = process.env['KILN_TEST_S3']
const shared = process.env['KILN_TEST_SIGNER']
const signer = shared === undefined ? await folderSigner(join(root, 'keys')) : clientOf(shared)
let passes = point.startsWith('after:') ? 2 : 1

function clientOf(text: string) {
  const { socket, trust } = JSON.parse(text) as { socket: string; trust: TrustRoot }
  return { ...signerClient({ socket, origin, timeoutMs: 30_000 }), trust }
}

function crashPoint(name: string): void {
  if (name !== point.replace('after:', '')) return
  passes -= 1
  if (passes === 0) process.kill(process.pid, 'SIGKILL')
}

const place = bucket === undefined ? { root } : { bucket: JSON.parse(bucket) as S3Settings }
const { writers } = await openWriters(place, { signer, trust: signer.trust, crashPoint })
if (shared !== undefined) {
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  process.stdin.destroy()
}
await decideAll(
  { writers, decisions, atOnce: shared === undefined ? decisions.length : 3 },
  (line) => process.stdout.write(`${line}\n`),
)
