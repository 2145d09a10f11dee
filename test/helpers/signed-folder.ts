import { join } from 'node:path'
import { pino } from 'pino'
import type { KeyAccess } from '../../signing/keys.ts'
import { fingerprintOf } from '../../signing/trust.ts'
import type { Role } from '../../src/domain/role.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { createSigningKeys, vouching } from '../../src/main/signing-keys.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { example } from '../signing/examples.ts'
import { folderSigner } from './ledger-signer.ts'

const asked = { id: '0'.repeat(32), principal: { name: 'ann', kind: 'token' } } as const

/** A log in a folder and the keys that sign it beside it, as the processes have them. */
export async function signedFolder(
  root: string,
  options: { access: KeyAccess; crashPoint?: (name: string) => void },
) {
  const folder = join(root, 'store')
  const store = openFolderStore({ root: folder })
  const head = openFolderHead({ root: folder })
  const signer = await folderSigner(join(root, 'keys'), options)
  // What a reader knows beforehand never changes: the log tells it the rest.
  const trust = signer.trust
  const deps = { store, head, signer, trust, logger: pino({ level: 'silent' }) }
  const ledger = openLedger(deps)
  await ledger.complete()
  await ledger.changeRoles(vouching(ledger))
  const keys = createSigningKeys({ ledger, signer })
  const current = (role: Role) => ledger.trust().roles.findLast((key) => key.role === role)!
  return {
    deps,
    ledger,
    keys,
    signer,
    current,
    list: keys.list,
    rotate: (role: Role, kms: string | null) =>
      keys.rotate(asked, { role, replaces: fingerprintOf(current(role)), kms }),
    /** Logs an SBOM: a statement of the build role. */
    decide: (id: string) => ledger.decide({ id, signable: example('sbom', 1) }),
    problems: async () => (await fsck({ store, head, trust })).problems,
  }
}
