import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Drift } from '../domain/request.ts'
import { environmentIn, type EdgeState } from '../edge/state.ts'

export type EdgeWatch = {
  ledger: () => Promise<Ledger>
  edge: () => Promise<EdgeState>
  onDrift: (environment: EnvironmentName, drifts: readonly Drift[]) => Promise<void>
  logger: Logger
}

const everyMs = 3000
/** A replacement that did not help is asked for again only now and then. */
const tellAgainAfterLooks = 100

/**
 * Looks whether everything that should serve is at the edge, as it may not be once the edge's files were
 * lost, and asks for a replacement, which puts it there. What is seen twice in a row counts: between two
 * looks a change may have ended.
 */
export async function watchEdge(dependencies: EdgeWatch, signal: AbortSignal): Promise<void> {
  const looks = new Map<EnvironmentName, number>()
  while (!signal.aborted) {
    await look(dependencies, looks).catch((error: unknown) => {
      dependencies.logger.warn({ err: error }, 'cannot look at the edge')
    })
    await pause(everyMs, undefined, { signal }).catch(() => undefined)
  }
}

async function look(
  { ledger, edge, onDrift, logger }: EdgeWatch,
  looks: Map<EnvironmentName, number>,
): Promise<void> {
  const absent = absentAtEdge(await ledger(), await edge())
  for (const name of looks.keys()) if (!absent.has(name)) looks.delete(name)
  for (const [environment, drift] of absent) {
    const seen = (looks.get(environment) ?? 0) + 1
    if (seen === 2) {
      logger.warn({ environment, drift }, 'what should serve is not at the edge')
      await onDrift(environment, [drift])
    }
    looks.set(environment, seen % tellAgainAfterLooks)
  }
}

/** Environments, of which instances should serve and are not behind the edge. Pure. */
export function absentAtEdge(ledger: Ledger, edge: EdgeState): Map<EnvironmentName, Drift> {
  const absent = new Map<EnvironmentName, Drift>()
  for (const { environment, active, open, running } of ledger.environments.values()) {
    // While a change has no outcome, its workflow knows what belongs there.
    if (active === null || open !== null) continue
    const servers = environmentIn(edge, environment)?.servers ?? []
    const missing = running.filter(
      ({ name }) => !servers.some((one) => one.name === name && one.state === 'ready'),
    )
    if (missing.length === 0) continue
    const found = `${running.length - missing.length} of ${running.length} instances`
    absent.set(environment, {
      instance: missing[0]?.name ?? environment,
      cause: 'unknown',
      found: `${found} at the edge`,
      expected: `${running.length} at the edge`,
    })
  }
  return absent
}
