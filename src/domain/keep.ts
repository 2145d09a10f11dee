import type { Digest } from './digest.ts'
import type { Ledger } from './ledger.ts'

/**
 * The artifacts that a host keeps at hand: of every environment what is active, what a change is about to
 * start, what the active key names to roll back to, and the last `good` different ones that served.
 */
export function neededArtifacts(ledger: Ledger, good: number): ReadonlySet<Digest> {
  const needed = new Set<Digest>()
  for (const state of ledger.environments.values()) {
    const { active, pending, open } = state
    const named = [
      active?.body.digest,
      active?.body.rollbackTo?.digest,
      pending?.body.digest,
      open?.body.target.digest,
      open?.body.rollbackTo?.digest,
    ]
    for (const digest of named) if (digest !== undefined) needed.add(digest)
    const served = [...new Set(state.good.map((key) => key.body.digest).toReversed())]
    for (const digest of served.slice(0, good)) needed.add(digest)
  }
  return needed
}
