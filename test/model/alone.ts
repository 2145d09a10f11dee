import { chainOf } from './logs.ts'
import { isFencedAt, type Rules } from './rules.ts'
import { environments, hostOf, type State } from './state.ts'

// Partial order reduction: where the next step of one promoter is the same, and does the same, whatever
// others do before it, and nobody sees whether it was done, it is the only step that is explored.

export type At = 0 | 1

/**
 * A promoter whose epoch is over, so that nothing of what it does changes anything any more: its host
 * refuses its effects for good, or its decision has an outcome before it and is void or in the log for good.
 * That it loses its work here is left out: it may as well lose it after the step, and what is kept is the
 * same. So is that its attempt comes late: it will be refused then too, and less may happen afterwards.
 */
export function spent(rules: Rules, state: State): At | null {
  const { log, promoters } = state
  for (const at of [0, 1] as const) {
    const one = promoters[at]
    if (one.at === 'idle' || one.at === 'plan' || one.work.change === null) continue
    const { environment, epoch } = one.work.change
    if (one.at !== 'store' && one.at !== 'log') {
      const { record } = hostOf(state, environment)
      if (isFencedAt(rules, record, epoch)) return at
      continue
    }
    // What follows a change, a settlement or a failed return is planned against the ledger of that moment.
    if (one.says === 'change' || one.says === 'settled') continue
    if (one.says === 'failed' && one.work.change.changeKind === 'return') continue
    const known = chainOf(log, environment).state
    if (epoch < known.epoch || (epoch === known.epoch && known.open === null)) return at
  }
  return null
}

/**
 * Once nothing can be lost, late or denied any more a promoter has one step and spends nothing by it that
 * others want. Where nobody else works on its environment or has an attempt on its way to its host, and
 * nobody else can begin to, that step is seen by nobody, and every promise is about one environment, so that
 * it holds or breaks in any order. An outcome in dev is excepted: what may be promoted to prod depends on
 * it. Only steps in the middle of work count, of which there are finitely many before a promoter is idle, so
 * that none is put off for ever.
 */
export function undisturbed({ delayed, left, promoters }: State): At | null {
  if (left.crashes > 0 || left.delays > 0 || left.denials > 0) return null
  const placeOf = (at: At) => {
    const one = promoters[at]
    return one.at === 'idle' ? one.noticed : one.work.request.environment
  }
  for (const at of [0, 1] as const) {
    const one = promoters[at]
    if (one.at === 'idle' || one.at === 'plan') continue
    const { environment } = one.work.request
    if (placeOf(at === 0 ? 1 : 0) === environment) continue
    if (delayed?.work.request.environment === environment) continue
    const isOutcome = one.at === 'log' && one.says !== 'change' && one.says !== 'key'
    if (isOutcome && environment !== environments.at(-1)) continue
    return at
  }
  return null
}
