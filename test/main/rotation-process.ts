/**
 * A process of its own that rotates: `node rotation-process.ts <root> <role> <crash point>`. Decides once,
 * rotates, and at the named point of the rotation is killed by SIGKILL. Prints the fingerprint of the key that
 * it replaces before it begins.
 */
import { join } from 'node:path'
import { pino } from 'pino'
import { fingerprintOf } from '../../signing/trust.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { createSigningKeys, vouching } from '../../src/main/signing-keys.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import type { Role } from '../../src/domain/role.ts'
import { folderSigner } from '../helpers/ledger-signer.ts'
import { example } from '../signing/examples.ts'

const [root = '', name = '', point = ''] = process.argv.slice(2)
const role = name as Role
const folder = join(root, 'store')
let armed = false

function crashPoint(passed: string): void {
  if (armed && passed === point) process.kill(process.pid, 'SIGKILL')
}

const signer = await folderSigner(join(root, 'keys'), { crashPoint })
const ledger = openLedger({
  store: openFolderStore({ root: folder }),
  head: openFolderHead({ root: folder }),
  signer,
  trust: signer.trust,
  logger: pino({ level: 'silent' }),
  crashPoint,
})
await ledger.complete()
await ledger.changeRoles(vouching(ledger))
await ledger.decide({ id: 'before', signable: example('drift', 1) })
const old = fingerprintOf(ledger.trust().roles.findLast((key) => key.role === role)!)
process.stdout.write(`${old}\n`)
armed = true
const asked = { id: '0'.repeat(32), principal: { name: 'ann', kind: 'token' } } as const
await createSigningKeys({ ledger, signer }).rotate(asked, { role, replaces: old, kms: null })
