import { expect, test } from 'vitest'
import { authorize, verbs } from '../../src/domain/authorize.ts'
import {
  planPromotion,
  planReplacement,
  planRollback,
  planScale,
  rollbackTargets,
} from '../../src/domain/plan.ts'
import type { Principal } from '../../src/domain/statement.ts'
import { digestFor, FactLog } from '../helpers/facts.ts'

const manual = { automatic: false }

function ruleOf(plan: ReturnType<typeof planPromotion>): string {
  return plan.kind === 'refused' ? plan.rule : plan.kind
}

test('a promotion needs a sealed artifact of this app, an environment of its pipeline, and proof in the one before', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const other = log.seal('other', 'shop')
  expect(
    ruleOf(planPromotion(log.ledger, 'hello/dev', { digest: digestFor('never'), ...manual })),
  ).toBe('not-sealed')
  expect(ruleOf(planPromotion(log.ledger, 'hello/dev', { digest: other, ...manual }))).toBe(
    'not-sealed',
  )
  expect(ruleOf(planPromotion(log.ledger, 'hello/stage', { digest: a, ...manual }))).toBe(
    'unknown-environment',
  )
  expect(ruleOf(planPromotion(log.ledger, 'hello/test', { digest: a, ...manual }))).toBe(
    'not-proved-in-previous-environment',
  )
  log.promote('hello/dev', a)
  expect(ruleOf(planPromotion(log.ledger, 'hello/test', { digest: a, ...manual }))).toBe('change')
  expect(ruleOf(planPromotion(log.ledger, 'hello/prod', { digest: a, ...manual }))).toBe(
    'not-proved-in-previous-environment',
  )
})

test('a failed activation proves nothing', () => {
  const log = new FactLog()
  const a = log.seal('a')
  log.change('hello/dev', a)
  log.key('hello/dev', a)
  log.outcome('hello/dev', 'failed')
  expect(ruleOf(planPromotion(log.ledger, 'hello/test', { digest: a, ...manual }))).toBe(
    'not-proved-in-previous-environment',
  )
})

test('a denied digest is neither promoted, nor returned to, nor replaced by itself', () => {
  const log = new FactLog()
  const a = log.seal('a')
  const b = log.seal('b')
  log.promote('hello/dev', a)
  log.promote('hello/dev', b)
  log.add({ kind: 'denial', artifact: a, body: { reason: 'r', requestedBy: 'x' } })
  expect(ruleOf(planPromotion(log.ledger, 'hello/test', { digest: a, ...manual }))).toBe('denied')
  expect(ruleOf(planRollback(log.ledger, 'hello/dev', {}))).toBe('nothing-to-roll-back-to')
  log.add({ kind: 'denial', artifact: b, body: { reason: 'r', requestedBy: 'x' } })
  expect(ruleOf(planReplacement(log.ledger, 'hello/dev'))).toBe('denied')
})

test('the plan stores the exact rollback target, and a rollback without a target goes there', () => {
  const log = new FactLog()
  const [a, b, c] = [log.seal('a'), log.seal('b'), log.seal('c')] as const
  log.promote('hello/dev', a)
  log.promote('hello/dev', b)
  const plan = planPromotion(log.ledger, 'hello/dev', { digest: c, ...manual })
  expect(plan).toMatchObject({
    kind: 'change',
    body: { epoch: 3, rollbackTo: { sequence: 2, digest: b }, from: { digest: b } },
  })
  log.promote('hello/dev', c)
  expect(planRollback(log.ledger, 'hello/dev', {})).toMatchObject({
    body: { target: { digest: b }, changeKind: 'rollback' },
  })
  expect(planRollback(log.ledger, 'hello/dev', { to: a })).toMatchObject({
    body: { target: { digest: a } },
  })
  expect(ruleOf(planRollback(log.ledger, 'hello/dev', { to: c }))).toBe('never-active-here')
  expect(rollbackTargets(log.ledger, 'hello/dev').map((key) => key.body.digest)).toEqual([b, a])
})

test('a rollback holds automatic promotion, and a person may still promote', () => {
  const log = new FactLog()
  const [a, b, c] = [log.seal('a'), log.seal('b'), log.seal('c')] as const
  log.promote('hello/dev', a)
  log.promote('hello/dev', b)
  log.promote('hello/dev', a, 'rollback')
  expect(ruleOf(planPromotion(log.ledger, 'hello/dev', { digest: c, automatic: true }))).toBe(
    'held',
  )
  expect(ruleOf(planPromotion(log.ledger, 'hello/dev', { digest: c, automatic: false }))).toBe(
    'change',
  )
})

test('what serves already is nothing to do', () => {
  const log = new FactLog()
  const a = log.seal('a')
  log.promote('hello/dev', a)
  expect(planPromotion(log.ledger, 'hello/dev', { digest: a, ...manual }).kind).toBe(
    'nothing-to-do',
  )
  expect(planScale(log.ledger, 'hello/dev', { instances: 2 }).kind).toBe('nothing-to-do')
})

test('scaling stays within what kiln.yaml allows, and needs something that runs', () => {
  const log = new FactLog()
  const a = log.seal('a')
  expect(ruleOf(planScale(log.ledger, 'hello/dev', { instances: 1 }))).toBe('nothing-runs-here')
  log.promote('hello/dev', a)
  expect(ruleOf(planScale(log.ledger, 'hello/dev', { instances: 0 }))).toBe(
    'instances-out-of-range',
  )
  expect(ruleOf(planScale(log.ledger, 'hello/dev', { instances: 5 }))).toBe(
    'instances-out-of-range',
  )
  expect(planScale(log.ledger, 'hello/dev', { instances: 4 })).toMatchObject({
    body: { instances: 4, changeKind: 'scale' },
  })
  expect(ruleOf(planRollback(log.ledger, 'hello/dev', {}))).toBe('nothing-to-roll-back-to')
})

test('a token may do everything, Kiln by itself may not undo a person, and nobody may do nothing', () => {
  const token: Principal = { name: 'ada', kind: 'token' }
  const kiln: Principal = { name: 'kiln', kind: 'kiln' }
  expect(verbs.filter((verb) => authorize(token, verb, 'x').allowed)).toEqual([...verbs])
  expect(verbs.filter((verb) => authorize(kiln, verb, 'x').allowed)).toEqual([
    'build',
    'promote',
    'replace',
  ])
  expect(authorize({ name: '', kind: 'token' }, 'promote', 'x').allowed).toBe(false)
  expect(
    authorize({ name: 'x', kind: 'constructor' } as unknown as Principal, 'promote', 'x').allowed,
  ).toBe(false)
})
