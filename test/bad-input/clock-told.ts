import { pino } from 'pino'
import { environmentOf } from '../../src/domain/ledger.ts'
import { environmentName } from '../../src/domain/name.ts'
import { createAdmission } from '../../src/main/admission.ts'
import { loadConfig } from '../../src/main/config.ts'
import { openLedgerView } from '../../src/main/ledger-view.ts'
import { localVerify } from '../../src/main/local-verify.ts'
import { readTrust } from '../../signing/trust-files.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { toFailure } from '../../src/main/failure.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { plainLedger } from '../helpers/plain-ledger.ts'

/** What a reader, a verifier and a host say of a home, and last the day that this process takes it to be. */
export type Told = { said: { active: unknown; denied: unknown; fsck: object }; day: string }

const prod = environmentName('hello', 'prod')

/** Nothing but the day may follow from the clock. */
export async function toldOf(home: string, origin: string): Promise<Told> {
  const config = loadConfig({ KILN_HOME: home, KILN_ORIGIN: origin }, '/')
  const view = await openLedgerView(config.paths, pino({ level: 'silent' }))
  const { store, reader } = view
  const ledger = await reader.refresh()
  const { active } = environmentOf(ledger, prod)
  if (active === null) throw new Error('nothing is active')
  const { digest, definition, epoch, sequence } = active.body

  /** The host's own judgement of the active pair, or of a digest that the log denies. */
  const judged = (asked: typeof digest) =>
    createAdmission(view, { deny: async () => undefined, demandFresh: async () => undefined })
      .check({
        environment: prod,
        digest: asked,
        definition,
        key: active.leaf,
        seen: { epoch, sequence },
      })
      .then(() => 'admitted', toFailure)

  const [denied] = ledger.denied.keys()
  const said = {
    ledger: plainLedger(ledger),
    facts: reader.facts(),
    fsck: await fsck({
      store,
      head: openFolderHead({ root: config.paths.store }),
      trust: await readTrust(config.paths.trust),
    }),
    verify: await localVerify(config, prod),
    active: await judged(digest),
    denied: denied === undefined ? 'none' : await judged(denied),
  }
  const day = new Date().toISOString().slice(0, 10)
  // As it is written, and as a process of its own would tell it.
  return JSON.parse(JSON.stringify({ said, day })) as Told
}
