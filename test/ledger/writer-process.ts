/**
 * A process of its own that decides: `node writer-process.ts <root> <crash point or -> <id>...`.
 * Prints `<id> <leaf> <index>` for each decision that was acknowledged. At the named point it is killed
 * by SIGKILL, or with `after:` before it, when it passes there again.
 */
import { join } from 'node:path'
import { pino } from 'pino'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { example } from '../signing/examples.ts'

const [root = '', point = '', ...ids] = process.argv.slice(2)
const folder = join(root, 'store')
await lockFolder(folder)
const signer = await folderSigner(join(root, 'keys'))
let passes = point.startsWith('after:') ? 2 : 1

const ledger = openLedger({
  store: openFolderStore({ root: folder }),
  head: openFolderHead({ root: folder }),
  signer,
  trust: signer.trust,
  logger: pino({ level: 'silent' }),
  crashPoint(name) {
    if (name !== point.replace('after:', '')) return
    passes -= 1
    if (passes === 0) process.kill(process.pid, 'SIGKILL')
  },
})

async function decide(id: string): Promise<void> {
  const { leaf, index } = await ledger.decide({ id, signable: example('drift', Number(id)) })
  process.stdout.write(`${id} ${leaf} ${index}\n`)
}

// The first alone, so that it is acknowledged when a later one dies.
const [first, ...rest] = ids
if (first !== undefined) await decide(first)
await Promise.all(rest.map(decide))
