import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { Fact, FactOf } from '../../src/domain/statement.ts'

export type PlainReading = {
  open: FactOf<'change'> | null
  active: FactOf<'key'> | null
  denied: ReadonlySet<Digest | null>
  /** What may start: the active key and the open change's, without what is denied. */
  keys: readonly FactOf<'key'>[]
}

/**
 * What may start in an environment, worked out from the log alone and by another way than the fold's: for
 * each change in log order that continues the last, its first key and its first outcome.
 */
export function plainReading(log: readonly Fact[], environment: EnvironmentName): PlainReading {
  let tip: string | null = null
  let [epoch, sequence] = [0, 0]
  let open: FactOf<'change'> | null = null
  let pending: FactOf<'key'> | null = null
  let active: FactOf<'key'> | null = null
  for (const fact of log) {
    if (!('body' in fact) || !('environment' in fact.body) || fact.body.environment !== environment)
      continue
    if (
      fact.kind === 'change' &&
      open === null &&
      fact.body.tip === tip &&
      fact.body.epoch === epoch + 1
    ) {
      ;[open, tip, epoch] = [fact, fact.leaf, fact.body.epoch]
    } else if (
      fact.kind === 'key' &&
      open !== null &&
      pending === null &&
      belongs(fact, open, sequence)
    ) {
      ;[pending, sequence] = [fact, fact.body.sequence]
    } else if (fact.kind === 'activation' && open !== null && fact.body.epoch === epoch) {
      if (fact.body.key !== (pending?.leaf ?? null)) continue
      if (fact.body.outcome === 'active' && pending === null && takesKey(open)) continue
      if (fact.body.outcome === 'active')
        active = open.body.changeKind === 'stop' ? null : (pending ?? active)
      ;[open, pending] = [null, null]
    }
  }
  const denied = new Set(
    log.filter((fact) => fact.kind === 'denial').map(({ artifact }) => artifact),
  )
  const keys = [active, pending].filter((key) => key !== null)
  return { open, active, denied, keys: keys.filter((key) => !denied.has(key.body.digest)) }
}

function takesKey({ body }: FactOf<'change'>): boolean {
  return ['promotion', 'rollback', 'return'].includes(body.changeKind)
}

function belongs({ body }: FactOf<'key'>, open: FactOf<'change'>, sequence: number): boolean {
  return (
    takesKey(open) &&
    body.epoch === open.body.epoch &&
    body.sequence === sequence + 1 &&
    body.digest === open.body.target.digest
  )
}
