import { pino } from 'pino'
import { openLedgerView } from '../../src/main/ledger-view.ts'
import { pathsOf } from '../../src/main/paths.ts'
import { collect } from '../../src/retention/collect.ts'
import { readInventory } from '../../src/retention/inventory.ts'
import { planCollection, type RetentionRules } from '../../src/retention/plan.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'

/** Whatever is there now is old, and of each environment one good artifact is kept. */
const rules: RetentionRules = { good: 1, since: Date.parse('2100-01-01'), always: [] }

const clock = () => performance.now()

/** What `kiln gc --apply` does in a home, but for asking Temporal which builds run. */
export async function collectIn(
  home: string,
  crashPoint: (name: string) => void = () => {},
): Promise<void> {
  const paths = pathsOf(home)
  const { reader } = await openLedgerView(paths, pino({ level: 'silent' }))
  const store = openFolderStore({ root: paths.store })
  const inventory = await readInventory(store)
  const plan = planCollection(await reader.refresh(), inventory, rules)
  const deps = { store, ledger: reader.refresh, owner: 'this', run: `${process.pid}` }
  await collect({ ...deps, clock, crashPoint }, plan, { inventory, rules })
}
