import { errors, isErrorCode } from './error.ts'
import { denialOf } from './fold-denial.ts'
import { environmentOf, type EnvironmentState, type Ledger } from './ledger.ts'
import type { EnvironmentName } from './name.ts'
import { change, pair, routeTaken, servedBy, type Plan } from './plan.ts'
import type { FactOf } from './statement.ts'

/** Whether an environment serves, or is about to serve, what was denied. */
export function servesDenied(ledger: Ledger, { active, pending, open }: EnvironmentState): boolean {
  const keys = [active, pending].filter((key) => key !== null)
  if (keys.some((key) => denialOf(ledger, key) !== null)) return true
  return open !== null && ledger.denied.has(open.body.target.digest)
}

/**
 * What follows a denial in an environment: its return to the rollback target that the denied key stored,
 * or to the first good one behind that when it was denied too; where there is none, or the return
 * failed by the target's own fault, everything stops. No hold, no pause and no want of disk is asked.
 */
export function planReturn(ledger: Ledger, environment: EnvironmentName): Plan {
  const state = environmentOf(ledger, environment)
  const { active } = state
  if (active === null || denialOf(ledger, active) === null)
    return { kind: 'nothing-to-do', serving: servedBy(active) }
  const target = returnFailed(state, active) ? undefined : returnTarget(ledger, state)
  if (target === undefined) {
    const { digest, definition } = active.body
    return change(state, {
      changeKind: 'stop',
      target: { digest, definition },
      instances: 0,
      rollbackTo: null,
    })
  }
  const { sequence, digest, definition } = target.body
  const older = allowed(ledger, state).findLast(
    (key) => key.body.sequence < sequence && key.body.digest !== digest,
  )
  return change(state, {
    changeKind: 'return',
    target: { digest, definition },
    instances: state.instances,
    rollbackTo:
      older === undefined ? null : { sequence: older.body.sequence, digest: older.body.digest },
  })
}

function allowed(ledger: Ledger, state: EnvironmentState): readonly FactOf<'key'>[] {
  return state.good.filter((key) => denialOf(ledger, key) === null)
}

function returnTarget(ledger: Ledger, state: EnvironmentState): FactOf<'key'> | undefined {
  const { active, environment } = state
  const stored = active?.body.rollbackTo?.sequence ?? 0
  return allowed(ledger, state).findLast(
    (key) =>
      key.body.sequence <= stored &&
      (active === null || pair(key) !== pair(active)) &&
      routeTaken(ledger, environment, key.body) === null,
  )
}

/** A fault of the platform condemns no target: then the same return is tried again. */
function returnFailed({ closed, outcome }: EnvironmentState, active: FactOf<'key'>): boolean {
  const failure = outcome?.body.failure ?? null
  if (closed?.body.changeKind !== 'return' || failure === null) return false
  if (closed.body.from?.sequence !== active.body.sequence) return false
  return !(isErrorCode(failure.code) && errors[failure.code].retryable)
}
