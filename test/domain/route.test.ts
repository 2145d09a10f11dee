import { expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { planPromotion, planRollback, type Plan } from '../../src/domain/plan.ts'
import { routeKey, routeText } from '../../src/domain/route.ts'
import { FactLog } from '../helpers/facts.ts'

const shop = 'shop.example.test'
const route = { host: shop, path: '/api' }

function sealed(log: FactLog, named: `${string} of ${string}`, own?: object): Digest {
  const [name = '', app] = named.split(' of ')
  return log.seal(name, app, [own === undefined ? 'prod' : { name: 'prod', route: own }])
}

const planned = (log: FactLog, environment: EnvironmentName, digest: Digest) =>
  ruleOf(planPromotion(log.ledger, environment, { digest, automatic: false }))
const ruleOf = (plan: Plan) => (plan.kind === 'refused' ? plan.rule : plan.kind)

test('a route has one form, whichever way it is written', () => {
  const forms = [{ host: shop }, { host: shop, path: '/' }, { path: '/' }, { path: '/api' }, route]
  expect(forms.map(routeKey)).toEqual([`${shop}/`, `${shop}/`, '*/', '*/api/', `${shop}/api/`])
  expect(forms.map(routeText)).toEqual([shop, shop, '*', '*/api', `${shop}/api`])
})

test('a route that another environment has is refused, and names who has it and what to do', () => {
  const log = new FactLog()
  log.promote('shop/prod', sealed(log, 'a of shop', route))
  const other = sealed(log, 'b of other', route)
  expect(planPromotion(log.ledger, 'other/prod', { digest: other, automatic: false })).toEqual({
    kind: 'refused',
    rule: 'route-taken',
    message: `the route ${shop}/api belongs to shop/prod`,
    fix: 'give other/prod another route in kiln.yaml, or first promote a version of shop/prod without it',
  })
})

test.each([
  ['its own route', 'shop', route, 'change'],
  ['another path of the host', 'other', { host: shop, path: '/apis' }, 'change'],
  ['a path inside of it', 'other', { host: shop, path: '/api/v2' }, 'change'],
  ['the same path of any host', 'other', { path: '/api' }, 'change'],
  ['no route', 'other', undefined, 'change'],
  ['the same route', 'other', route, 'route-taken'],
])('beside shop.example.test/api: %s', (...[, app, own, wanted]) => {
  const log = new FactLog()
  log.promote('shop/prod', sealed(log, 'a of shop', route))
  expect(planned(log, `${app}/prod`, sealed(log, `b of ${app}`, own))).toBe(wanted)
})

test('a change that has no outcome yet holds its route, and one that failed does not', () => {
  const log = new FactLog()
  const [a, b] = [sealed(log, 'a of shop', route), sealed(log, 'b of other', route)]
  log.change('shop/prod', a)
  expect(planned(log, 'other/prod', b)).toBe('route-taken')
  log.key('shop/prod', a)
  expect(planned(log, 'other/prod', b)).toBe('route-taken')
  log.outcome('shop/prod', 'failed')
  expect(planned(log, 'other/prod', b)).toBe('change')
})

test('a route that was given up is free, and a rollback to it is refused once another has it', () => {
  const log = new FactLog()
  const [a, without] = [sealed(log, 'a of shop', route), sealed(log, 'c of shop')]
  const b = sealed(log, 'b of other', route)
  log.promote('shop/prod', a)
  log.promote('shop/prod', without)
  expect(ruleOf(planRollback(log.ledger, 'shop/prod', {}))).toBe('change')
  expect(planned(log, 'other/prod', b)).toBe('change')
  log.promote('other/prod', b)
  expect(ruleOf(planRollback(log.ledger, 'shop/prod', {}))).toBe('route-taken')
  expect(planned(log, 'shop/prod', a)).toBe('route-taken')
})
