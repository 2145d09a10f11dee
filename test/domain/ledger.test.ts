import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { admissible, environmentOf, foldAll } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { act, play } from '../helpers/any-log.ts'
import { digestFor, FactLog, hash } from '../helpers/facts.ts'

const dev: EnvironmentName = 'hello/dev'

test('a key is admissible from its issue on, and stays beside the active one until the outcome', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const b = log.seal('b')
  expect(admissible(log.ledger, dev)).toEqual([])
  log.promote(dev, a)
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([a])
  log.change(dev, b)
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([a])
  log.key(dev, b)
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([a, b])
  log.outcome(dev, 'active')
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([b])
})

test('a failed key admits nothing, and the old one is admissible as before', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const b = log.seal('b')
  log.promote(dev, a)
  log.change(dev, b)
  log.key(dev, b)
  log.outcome(dev, 'failed')
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([a])
  expect(environmentOf(log.ledger, dev).good.map((key) => key.body.digest)).toEqual([a])
})

test('a denied digest is admissible nowhere, active or pending', () => {
  const log = new FactLog()
  const a = log.seal('a')
  log.promote(dev, a)
  log.add({ kind: 'denial', artifact: a, body: { reason: 'broken', requestedBy: 'tester' } })
  expect(admissible(log.ledger, dev)).toEqual([])
})

test('a key of one environment says nothing about another', () => {
  const log = new FactLog()
  const a = log.seal('a')
  log.promote(dev, a)
  expect(admissible(log.ledger, 'hello/prod')).toEqual([])
})

test.each([
  ['an epoch that was taken', { epoch: 1 }],
  ['an epoch that skips one', { epoch: 3 }],
  ['another tip', { tip: hash('elsewhere') }],
  ['no tip', { tip: null }],
])('a change with %s is void', (_what, part) => {
  const log = new FactLog()
  const a = log.seal('a')
  log.promote(dev, a)
  const before = environmentOf(log.ledger, dev)
  const late = log.change(dev, a, part)
  expect(environmentOf(log.ledger, dev)).toEqual(before)
  expect(log.ledger.void.has(late.leaf)).toBe(true)
})

test('while a change is open no other one begins: the first in log order wins', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const first = log.change(dev, a)
  const second = log.change(dev, a, { change: 'another' })
  expect(environmentOf(log.ledger, dev).open?.leaf).toBe(first.leaf)
  expect(log.ledger.void.has(second.leaf)).toBe(true)
})

test.each([
  ['a sequence that skips one', { sequence: 9 }],
  ['the previous sequence', { sequence: 1 }],
  ['another previous key', { previous: hash('x') }],
  ['another epoch', { epoch: 7 }],
  ['another digest than the change', { digest: digestFor('x') }],
  ['another definition than the change', { definition: digestFor('x') }],
])('a key with %s is void', (_what, part) => {
  const log = new FactLog()
  const a = log.seal('a')
  const b = log.seal('b')
  log.promote(dev, a)
  log.change(dev, b)
  const bad = log.key(dev, b, part)
  expect(log.ledger.void.has(bad.leaf)).toBe(true)
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([a])
})

test('a key without a change, and under a change that takes none, is void', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const early = log.key(dev, a)
  expect(log.ledger.void.has(early.leaf)).toBe(true)
  log.promote(dev, a)
  log.change(dev, a, { changeKind: 'scale' })
  const under = log.key(dev, a)
  expect(log.ledger.void.has(under.leaf)).toBe(true)
})

test('a promotion cannot become active without a key', () => {
  const log = new FactLog()
  const a = log.seal('a')
  log.change(dev, a)
  const claim = log.outcome(dev, 'active')
  expect(log.ledger.void.has(claim.leaf)).toBe(true)
  expect(environmentOf(log.ledger, dev).open).not.toBeNull()
})

test('a rollback holds the environment until it is released', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const b = log.seal('b')
  log.promote(dev, a)
  log.promote(dev, b)
  log.promote(dev, a, 'rollback')
  const { hold } = environmentOf(log.ledger, dev)
  expect(hold?.by).toBe('tester')
  log.add({
    kind: 'release',
    artifact: a,
    body: { environment: dev, change: 'another', reason: '', requestedBy: 'x' },
  })
  expect(environmentOf(log.ledger, dev).hold).toEqual(hold)
  log.add({
    kind: 'release',
    artifact: a,
    body: { environment: dev, change: hold?.change ?? '', reason: '', requestedBy: 'x' },
  })
  expect(environmentOf(log.ledger, dev).hold).toBeNull()
})

test('whatever is appended: epochs and sequences only grow by one, at most two pairs are admissible, none denied', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const { facts, ledger } = play(acts)
      expect(foldAll(facts)).toEqual(ledger)
      let [epoch, sequence] = [0, 0]
      for (let end = 1; end <= facts.length; end++) {
        const state = environmentOf(foldAll(facts.slice(0, end)), dev)
        expect(state.epoch - epoch).toBeLessThanOrEqual(1)
        expect(state.sequence - sequence).toBeLessThanOrEqual(1)
        expect(state.epoch).toBeGreaterThanOrEqual(epoch)
        expect(state.sequence).toBeGreaterThanOrEqual(sequence)
        ;[epoch, sequence] = [state.epoch, state.sequence]
      }
      for (const name of ledger.environments.keys()) {
        const may = admissible(ledger, name)
        expect(may.length).toBeLessThanOrEqual(2)
        expect(may.some((one) => ledger.denied.has(one.digest))).toBe(false)
        for (const one of may) expect(ledger.void.has(one.key)).toBe(false)
      }
    }),
    { numRuns: 150 },
  )
})
