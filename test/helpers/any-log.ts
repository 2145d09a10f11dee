import * as fc from 'fast-check'
import { environmentOf } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { digestFor, FactLog } from './facts.ts'

/** Anything anyone might append: right in its place, out of place, twice, to another environment. */
export const act = fc.record({
  environment: fc.constantFrom<EnvironmentName>('hello/dev', 'hello/test'),
  artifact: fc.constantFrom('a', 'b', 'c'),
  what: fc.constantFrom(
    'change',
    'rollback',
    'scale',
    'key',
    'active',
    'failed',
    'denial',
    'again',
  ),
  skew: fc.constantFrom(0, 0, 0, 1, -1),
})

export type Act = typeof act extends fc.Arbitrary<infer T> ? T : never

export function play(acts: readonly Act[]): FactLog {
  const log = new FactLog()
  for (const name of ['a', 'b', 'c']) log.seal(name)
  for (const { environment, artifact, what, skew } of acts) {
    const digest = digestFor(artifact)
    const state = environmentOf(log.ledger, environment)
    if (what === 'change') log.change(environment, digest, { epoch: state.epoch + 1 + skew })
    else if (what === 'rollback') log.change(environment, digest, { changeKind: 'rollback' })
    else if (what === 'scale') log.change(environment, digest, { changeKind: 'scale' })
    else if (what === 'key') log.key(environment, digest, { sequence: state.sequence + 1 + skew })
    else if (what === 'denial')
      log.add({ kind: 'denial', artifact: digest, body: { reason: 'r', requestedBy: 'x' } })
    else if (what === 'again') {
      const last = log.facts.at(-1)
      if (last !== undefined) log.add({ ...last })
    } else log.outcome(environment, what === 'active' ? 'active' : 'failed')
  }
  return log
}
