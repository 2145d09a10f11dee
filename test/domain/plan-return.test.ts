import { expect, test } from 'vitest'
import { admissible, environmentOf } from '../../src/domain/ledger.ts'
import { planReturn, servesDenied } from '../../src/domain/plan-return.ts'
import { planPromotion, planRollback } from '../../src/domain/plan.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { FactLog } from '../helpers/facts.ts'

const dev = 'hello/dev'

/** An environment that had these active, in this order. */
function served(...names: string[]): { log: FactLog; digests: Digest[] } {
  const log = new FactLog()
  const digests = names.map((name) => log.seal(name))
  for (const digest of digests) log.promote(dev, digest)
  return { log, digests }
}

function deny(log: FactLog, artifact: Digest | undefined): void {
  log.add({
    kind: 'denial',
    artifact: artifact ?? null,
    body: { reason: 'stolen', requestedBy: 'x' },
  })
}

/** The return as the environment's workflow carries it out. */
function carryOut(log: FactLog, outcome: 'active' | 'failed', code = 'change_failed'): void {
  const plan = planReturn(log.ledger, dev)
  if (plan.kind !== 'change') throw new Error(plan.kind)
  const { changeKind, target, instances, rollbackTo, from } = plan.body
  log.change(dev, target.digest, { changeKind, target, instances, rollbackTo, from })
  const failure = outcome === 'failed' ? { code, message: 'never ready' } : null
  if (changeKind === 'return') log.key(dev, target.digest, { rollbackTo })
  log.outcome(dev, outcome, { failure, ...(changeKind === 'stop' ? { instances: [] } : {}) })
}

test('what serves a denied artifact returns to the target that its key stored', () => {
  const { log, digests } = served('a', 'b', 'c')
  expect(planReturn(log.ledger, dev)).toMatchObject({ kind: 'nothing-to-do' })
  deny(log, digests[2])
  expect(servesDenied(log.ledger, environmentOf(log.ledger, dev))).toBe(true)
  expect(planReturn(log.ledger, dev)).toMatchObject({
    kind: 'change',
    body: {
      changeKind: 'return',
      target: { digest: digests[1] },
      instances: 2,
      from: { digest: digests[2] },
      rollbackTo: { sequence: 1, digest: digests[0] },
    },
  })
})

test('the target is the stored one, not the newest one', () => {
  const { log, digests } = served('a', 'b', 'c')
  // Back from c to b: its key stores a, since c was what went wrong.
  const rollback = planRollback(log.ledger, dev, {})
  if (rollback.kind !== 'change') throw new Error('no rollback')
  log.change(dev, digests[1]!, { changeKind: 'rollback' })
  log.key(dev, digests[1]!, { rollbackTo: rollback.body.rollbackTo })
  log.outcome(dev, 'active')
  deny(log, digests[1])
  expect(planReturn(log.ledger, dev)).toMatchObject({ body: { target: { digest: digests[0] } } })
})

test('where the target was denied too, the first good one behind it is taken, and never a denied one', () => {
  const { log, digests } = served('a', 'b', 'c', 'd')
  deny(log, digests[3])
  deny(log, digests[2])
  expect(planReturn(log.ledger, dev)).toMatchObject({ body: { target: { digest: digests[1] } } })
  deny(log, digests[0])
  expect(planReturn(log.ledger, dev)).toMatchObject({
    body: { target: { digest: digests[1] }, rollbackTo: null },
  })
  deny(log, digests[1])
  expect(planReturn(log.ledger, dev)).toMatchObject({
    body: { changeKind: 'stop', instances: 0, target: { digest: digests[3] }, rollbackTo: null },
  })
})

test('a hold does not stop a return, and a return holds against what comes by itself', () => {
  const { log, digests } = served('a', 'b', 'c')
  log.promote(dev, digests[1]!, 'rollback')
  expect(environmentOf(log.ledger, dev).hold).not.toBeNull()
  deny(log, digests[1])
  expect(planReturn(log.ledger, dev).kind).toBe('change')
  carryOut(log, 'active')
  const state = environmentOf(log.ledger, dev)
  expect(state.active?.body.digest).toBe(digests[2])
  expect(state.hold?.change).toBe(state.closed?.body.change)
  const next = log.seal('next')
  expect(planPromotion(log.ledger, dev, { digest: next, automatic: true })).toMatchObject({
    rule: 'held',
  })
  expect(planPromotion(log.ledger, dev, { digest: digests[1]!, automatic: false })).toMatchObject({
    rule: 'denied',
  })
})

test('without a target everything stops: nothing is active or admissible, and an alarm stands until something serves again', () => {
  const { log, digests } = served('a')
  deny(log, digests[0])
  carryOut(log, 'active')
  const stopped = environmentOf(log.ledger, dev)
  expect(stopped).toMatchObject({ active: null, running: [], instances: 2 })
  expect(stopped.alarm).toMatchObject({ cause: 'denied' })
  expect(stopped.hold).not.toBeNull()
  expect(admissible(log.ledger, dev)).toEqual([])
  expect(servesDenied(log.ledger, stopped)).toBe(false)
  const mended = log.seal('mended')
  const plan = planPromotion(log.ledger, dev, { digest: mended, automatic: false })
  expect(plan).toMatchObject({ kind: 'change', body: { instances: 2, rollbackTo: null } })
  log.promote(dev, mended)
  expect(environmentOf(log.ledger, dev)).toMatchObject({
    active: { body: { sequence: 2, digest: mended } },
    alarm: null,
  })
})

test('a target that cannot serve is not tried for ever: the denied one stops', () => {
  const { log, digests } = served('a', 'b')
  deny(log, digests[1])
  carryOut(log, 'failed')
  expect(planReturn(log.ledger, dev)).toMatchObject({ body: { changeKind: 'stop' } })
})

test('a return that the platform lost is tried again', () => {
  const { log, digests } = served('a', 'b')
  deny(log, digests[1])
  carryOut(log, 'failed', 'internal')
  expect(planReturn(log.ledger, dev)).toMatchObject({
    body: { changeKind: 'return', target: { digest: digests[0] } },
  })
})
