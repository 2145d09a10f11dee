import { parseEnvironmentName } from '../domain/name.ts'
import type { EnvironmentState } from '../domain/ledger.ts'
import { alarmRule, replacementBudget, spend } from '../domain/replacement-budget.ts'
import type { Drift } from '../domain/request.ts'

export type Spent =
  | { kind: 'within' }
  /** An alarm stands already, or the next try is not due: the drift is on record, and that is all. */
  | { kind: 'waits' }
  | { kind: 'alarm'; rule: string; message: string; fix: string }

/** Whether drifts may be answered by another replacement, or replacing has become a loop. Pure. */
export function replacementVerdict(
  state: EnvironmentState,
  drifts: readonly Drift[],
  now: Date,
): Spent {
  const causes = drifts.map(({ cause }) => cause)
  const spending = spend({ ...state, causes, now })
  if (spending.kind === 'within') return spending
  if (state.alarm !== null) return { kind: 'waits' }
  const { environment } = state
  const minutes = replacementBudget.windowMs / 60_000
  const { app } = parseEnvironmentName(environment)
  return {
    kind: 'alarm',
    rule: alarmRule(spending.cause),
    message: `instances of ${environment} were replaced ${spending.count} times within ${minutes} minutes (${spending.cause}); replacing again does not help`,
    fix: `see kiln logs ${environment}; then promote or roll back ${app}, or kiln scan ${environment} --clear`,
  }
}
