import type { Digest } from './digest.ts'
import { denialOf } from './fold-denial.ts'
import type { EnvironmentState, Ledger } from './ledger.ts'
import type { EnvironmentName } from './name.ts'

/** Why an artifact is never collected. */
export type LeaseReason =
  | 'active'
  | 'rollback target'
  | 'change under way'
  | 'may be returned to'
  | 'sealed lately'

export type Lease = { reason: LeaseReason; environment: EnvironmentName | null }

export type LeaseRules = {
  /** How many of each environment's last different good artifacts it may return to. */
  good: number
  /** Whatever was sealed since stays; ms since 1970. */
  since: number
}

/**
 * The artifacts that are leased, each with the first reason for it. Pure: of every environment what is
 * active and what its key stored to roll back to, what a change is about, and the last `good` different ones that
 * served and were not denied; and whatever was sealed since.
 */
export function leases(ledger: Ledger, rules: LeaseRules): ReadonlyMap<Digest, Lease> {
  const states = [...ledger.environments.values()]
  // A time that cannot be read counts as late: it is no reason to collect.
  const late = [...ledger.sealed.values()].filter(({ time }) => !(Date.parse(time) < rules.since))
  const leased = new Map<Digest, Lease>()
  const lease = (
    reason: LeaseReason,
    environment: EnvironmentName | null,
    digests: readonly (Digest | null | undefined)[],
  ): void => {
    for (const digest of digests) {
      if (digest && !leased.has(digest)) leased.set(digest, { reason, environment })
    }
  }
  for (const { environment, active } of states) {
    lease('active', environment, [active?.body.digest])
  }
  for (const state of states) {
    lease('rollback target', state.environment, [state.active?.body.rollbackTo?.digest])
    lease('change under way', state.environment, underWay(state))
  }
  for (const state of states) {
    lease('may be returned to', state.environment, lastGood(ledger, state).slice(0, rules.good))
  }
  for (const { artifact } of late) lease('sealed lately', null, [artifact])
  return leased
}

function underWay({ open, pending }: EnvironmentState): (Digest | undefined)[] {
  return [
    open?.body.target.digest,
    open?.body.rollbackTo?.digest,
    open?.body.from?.digest,
    pending?.body.digest,
    pending?.body.rollbackTo?.digest,
  ]
}

/** Newest first, each once. */
function lastGood(ledger: Ledger, { good }: EnvironmentState): readonly Digest[] {
  const allowed = good.filter((key) => denialOf(ledger, key) === null)
  return [...new Set(allowed.map((key) => key.body.digest).toReversed())]
}
