import { expect, test } from 'vitest'
import { leases } from '../../src/domain/lease.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { digestFor, FactLog } from '../helpers/facts.ts'

const prod = 'hello/prod' as EnvironmentName
const old = { good: 1, since: Date.parse('2026-03-01T00:00:00Z') }

function served(...names: string[]): FactLog {
  const log = new FactLog()
  for (const name of names) log.promote(prod, log.seal(name))
  return log
}

const named = (log: FactLog, rules = old) =>
  [...leases(log.ledger, rules)].map(([digest, { reason }]) => [digest, reason])

test('the target that the active key stored is leased, however few good ones are kept', () => {
  expect(named(served('a', 'b', 'c'), { ...old, good: 0 })).toEqual([
    [digestFor('c'), 'active'],
    [digestFor('b'), 'rollback target'],
  ])
})

test('the last good ones, each once, and never a denied one in the place of another', () => {
  const log = served('a', 'b', 'c', 'b', 'c', 'd')
  log.add({
    kind: 'denial',
    artifact: digestFor('b'),
    body: { reason: 'test', requestedBy: 'ana' },
  })
  expect(named(log, { ...old, good: 3 })).toEqual([
    [digestFor('d'), 'active'],
    [digestFor('c'), 'rollback target'],
    [digestFor('a'), 'may be returned to'],
  ])
})

test('what a change without an outcome is about, with its key or before it', () => {
  const log = served('a', 'b', 'c')
  log.change(prod, digestFor('a'))
  expect(named(log)).toContainEqual([digestFor('a'), 'change under way'])
  log.key(prod, digestFor('a'))
  expect(named(log)).toContainEqual([digestFor('a'), 'change under way'])
  log.outcome(prod, 'failed')
  expect(named(log)).toEqual([
    [digestFor('c'), 'active'],
    [digestFor('b'), 'rollback target'],
  ])
})

test('what was sealed since, and what does not say when', () => {
  const log = served('a', 'b', 'c')
  log.time = '2026-03-02T00:00:00Z'
  log.seal('late')
  log.time = 'someday'
  log.seal('unknown')
  expect(named(log).slice(2)).toEqual([
    [digestFor('late'), 'sealed lately'],
    [digestFor('unknown'), 'sealed lately'],
  ])
})
