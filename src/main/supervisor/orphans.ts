import type { Logger } from 'pino'
import { processesMarked, signalExactly, waitGone } from './process-identity.ts'
import { homeMark } from './state.ts'

const graceMs = 10_000

/**
 * Ends every process that a supervisor of this home started and did not end, because it was killed
 * itself. Only processes that carry the home's mark are touched. The caller owns the home.
 */
export async function endOrphans(home: string, logger: Logger): Promise<number> {
  const orphans = processesMarked(homeMark, home)
  if (orphans.length === 0) return 0
  const pids = orphans.map(({ pid }) => pid)
  logger.warn({ pids }, 'ending processes that an earlier supervisor left behind')
  for (const one of orphans) signalExactly(one, 'SIGTERM')
  await waitGone(orphans, graceMs)
  // Also what a leftover started while it was ending.
  const rest = processesMarked(homeMark, home)
  for (const one of rest) signalExactly(one, 'SIGKILL')
  await waitGone(rest, graceMs)
  return orphans.length
}
