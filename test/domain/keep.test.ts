import { expect, test } from 'vitest'
import { neededArtifacts } from '../../src/domain/keep.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { FactLog } from '../helpers/facts.ts'

const dev: EnvironmentName = 'hello/dev'
const prod: EnvironmentName = 'hello/prod'

test('needed are, of each environment, what is active and the last good ones, each counted once', () => {
  const log = new FactLog()
  const [a, b, c, d] = [log.seal('a'), log.seal('b'), log.seal('c'), log.seal('d')]
  for (const digest of [a, b, c, b, d]) log.promote(dev, digest)
  expect([...neededArtifacts(log.ledger, 2)].toSorted()).toEqual([b, d].toSorted())
  expect([...neededArtifacts(log.ledger, 3)].toSorted()).toEqual([b, c, d].toSorted())
  log.promote(prod, a)
  expect(neededArtifacts(log.ledger, 1).has(a)).toBe(true)
})

test('the target that the active key names stays, however few good ones are kept', () => {
  const log = new FactLog()
  const [a, b] = [log.seal('a'), log.seal('b')]
  log.promote(dev, a)
  log.promote(dev, b)
  expect(neededArtifacts(log.ledger, 1)).toEqual(new Set([b, a]))
})

test('what a change is about to start, and would return to, stays from the epoch on', () => {
  const log = new FactLog()
  const [a, b] = [log.seal('a'), log.seal('b')]
  log.promote(dev, a)
  expect(neededArtifacts(log.ledger, 1).has(b)).toBe(false)
  log.change(dev, b)
  expect(neededArtifacts(log.ledger, 1)).toEqual(new Set([a, b]))
  log.key(dev, b)
  expect(neededArtifacts(log.ledger, 1)).toEqual(new Set([a, b]))
  log.outcome(dev, 'failed')
  expect(neededArtifacts(log.ledger, 1)).toEqual(new Set([a]))
})

test('an empty ledger needs nothing', () => {
  expect(neededArtifacts(new FactLog().ledger, 5)).toEqual(new Set())
})
