import { denialOf } from './fold-denial.ts'
import type { Admission, Ledger } from './ledger.ts'
import type { EnvironmentName } from './name.ts'

/**
 * What may be rehearsed in an environment, aside and without traffic: the pair that the active key stored as
 * its rollback target, under the key that it was active by, unless it was denied. The active key, signed
 * and logged, is the permit; it ends with it. Null where nothing is stored.
 */
export function rehearsable(ledger: Ledger, environment: EnvironmentName): Admission | null {
  const state = ledger.environments.get(environment)
  const stored = state?.active?.body.rollbackTo ?? null
  const key = state?.good.findLast(
    ({ body }) => body.sequence === stored?.sequence && body.digest === stored.digest,
  )
  if (key === undefined || denialOf(ledger, key) !== null) return null
  const { digest, definition, sequence } = key.body
  return { digest, definition, sequence, key: key.leaf }
}
