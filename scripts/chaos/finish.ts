import { judge } from './checker/judge.ts'
import type { Verdict } from './checker/verdict.ts'
import { pathsOf } from '../../src/main/paths.ts'
import { edgeStat, listLeft, readHistories } from './inventory.ts'
import { until, type Session } from './session.ts'
import { isQuiet } from './work.ts'

/** How long one change may take when nobody dies, on a machine that is busy with a whole chaos run. */
const boundMs = 120_000

/**
 * Waits until nothing is in work, asks everybody for the last time, and lets the checker judge. Nobody
 * may be killed meanwhile.
 */
export async function finish(
  session: Session,
  given: {
    engines: { runtime: string; build: string }
    host: string
    builds: readonly string[]
    /** Where the ledger's objects lie as files. */
    store: string
    stopRecording: () => Promise<void>
  },
): Promise<Verdict[]> {
  const { journal, kiln } = session
  await session.allReady()
  await until('nothing is in work', 240_000, async () => {
    for (let look = 0; look < 8; look++) {
      if (!(await isQuiet(session))) return false
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    return true
  })
  journal.histories(await readHistories(session))
  journal.edge({ stat: await edgeStat(kiln.home) })
  journal.left(await listLeft(given.engines, given))
  await given.stopRecording()
  const { trust } = pathsOf(kiln.home)
  return judge({ store: given.store, trust, evidence: journal.folder, host: given.host, boundMs })
}
