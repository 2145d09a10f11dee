import type { Admission, Ledger } from '../domain/ledger.ts'
import { environmentOf } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { rehearsable } from '../domain/rehearsal.ts'

/** What a rehearsal is about, or why there is none. */
export type RehearsalPlan =
  | ({ kind: 'target' } & Admission)
  | { kind: 'refused'; rule: string; message: string; fix: string }

export type RehearsalPlans = ReturnType<typeof rehearsalPlans>

export function rehearsalPlans({ ledger }: { ledger: () => Promise<Ledger> }) {
  return {
    /** The rollback target of this moment; changes nothing. */
    async planRehearsal({ environment }: { environment: EnvironmentName }): Promise<RehearsalPlan> {
      const known = await ledger()
      const target = rehearsable(known, environment)
      if (target !== null) return { kind: 'target', ...target }
      const { active } = environmentOf(known, environment)
      const denied = active?.body.rollbackTo ?? null
      const why =
        active === null
          ? 'nothing is active there'
          : denied === null
            ? 'what is active is the first that ever was'
            : `its target ${denied.digest} was denied`
      return {
        kind: 'refused',
        rule: 'nothing-to-roll-back-to',
        message: `${environment} has nothing to return to: ${why}`,
        fix: `kiln history ${environment}`,
      }
    },
  }
}
