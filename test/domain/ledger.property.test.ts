import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { admissible, environmentOf, foldAll } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Fact, FactOf } from '../../src/domain/statement.ts'
import { act, play } from '../helpers/any-log.ts'

const environments: readonly EnvironmentName[] = ['hello/dev', 'hello/test']
const anyLog = fc.array(act, { maxLength: 60 }).map((acts) => play(acts).facts)
const runs = { numRuns: 150 }

function environmentIn(fact: Fact): string | null {
  return 'body' in fact && 'environment' in fact.body ? fact.body.environment : null
}

/** What the log says to one environment: its own entries, and those that are about none. */
function ownOf(facts: readonly Fact[], environment: EnvironmentName): readonly Fact[] {
  return facts.filter((fact) => (environmentIn(fact) ?? environment) === environment)
}

test('an environment is as if the log had no entry of another one', () => {
  fc.assert(
    fc.property(anyLog, (facts) => {
      const whole = foldAll(facts)
      for (const environment of environments) {
        const own = foldAll(ownOf(facts, environment))
        expect(environmentOf(whole, environment)).toEqual(environmentOf(own, environment))
        expect(admissible(whole, environment)).toEqual(admissible(own, environment))
      }
      const voided = environments.flatMap((one) => [...foldAll(ownOf(facts, one)).void])
      expect(new Set(voided)).toEqual(whole.void)
    }),
    runs,
  )
})

test('an environment is as if the log had no entry that is void', () => {
  fc.assert(
    fc.property(anyLog, (facts) => {
      const whole = foldAll(facts)
      const without = foldAll(facts.filter(({ leaf }) => !whole.void.has(leaf)))
      expect(without.void.size).toBe(0)
      for (const environment of environments) {
        expect(environmentOf(without, environment)).toEqual(environmentOf(whole, environment))
        expect(admissible(without, environment)).toEqual(admissible(whole, environment))
      }
    }),
    runs,
  )
})

test('what is admissible is what a valid key of the environment says, the active one before the open', () => {
  fc.assert(
    fc.property(anyLog, (facts) => {
      const ledger = foldAll(facts)
      for (const environment of environments) {
        const may = admissible(ledger, environment)
        expect(may.length).toBeLessThanOrEqual(2)
        const keys = may.map(({ key }) => {
          const fact = facts.find(({ leaf }) => leaf === key) as FactOf<'key'>
          return { environment: fact.body.environment, digest: fact.body.digest, leaf: fact.leaf }
        })
        expect(keys).toEqual(may.map(({ digest, key }) => ({ environment, digest, leaf: key })))
        expect(keys.filter(({ leaf }) => ledger.void.has(leaf))).toEqual([])
        const sequences = may.map(({ sequence }) => sequence)
        expect(sequences).toEqual([...new Set(sequences)].toSorted((a, b) => a - b))
      }
    }),
    runs,
  )
})

test('a digest that was denied is never admissible again, and what becomes admissible is newer than all before it', () => {
  fc.assert(
    fc.property(anyLog, (facts) => {
      for (const environment of environments) {
        let [newest, active] = [0, 0]
        const denied = new Set<string | null>()
        const known = new Set<string>()
        for (let end = 1; end <= facts.length; end += 1) {
          const ledger = foldAll(facts.slice(0, end))
          const last = facts[end - 1]
          if (last?.kind === 'denial') denied.add(last.artifact)
          for (const { digest, key, sequence } of admissible(ledger, environment)) {
            expect(denied.has(digest)).toBe(false)
            expect(known.has(key) || sequence === newest + 1).toBe(true)
            known.add(key)
          }
          const state = environmentOf(ledger, environment)
          if (state.pending?.body.sequence === newest + 1) known.add(state.pending.leaf)
          newest = state.sequence
          expect(state.active?.body.sequence ?? 0).toBeGreaterThanOrEqual(active)
          active = state.active?.body.sequence ?? 0
        }
      }
    }),
    { numRuns: 60 },
  )
})
