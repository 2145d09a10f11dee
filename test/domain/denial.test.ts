import { expect, test } from 'vitest'
import { findSubject, unknownAncestry } from '../../src/domain/denial.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { admissible, admissibleAnywhere, environmentOf } from '../../src/domain/ledger.ts'
import { planReturn, servesDenied } from '../../src/domain/plan-return.ts'
import { planPromotion, planScale, rollbackTargets } from '../../src/domain/plan.ts'
import type { DeniedOther, TemplateLock } from '../../src/domain/statement.ts'
import { digestFor, FactLog } from '../helpers/facts.ts'

const said = { reason: 'stolen', requestedBy: 'x' }

function deny(log: FactLog, of: DeniedOther): void {
  log.add({ kind: 'denial', artifact: null, body: { ...said, of } })
}

/** Seals an artifact that was built from this template. */
function sealFrom(log: FactLog, name: string, template: TemplateLock & { base?: TemplateLock }) {
  const scratch = new FactLog()
  const artifact = scratch.seal(name)
  const [fact] = scratch.facts
  if (fact?.kind !== 'sealed') throw new Error('not sealed')
  log.add({ kind: 'sealed', artifact, body: { ...fact.body, template } })
  return artifact
}

const debian = { name: 'debian-base', lock: digestFor('debian 1') }
const service = { name: 'node-service', lock: digestFor('service 1'), base: debian }
const patched = { name: 'debian-base', lock: digestFor('debian 2') }

test('of a denied key only that key is not admissible: its artifact stays good elsewhere', () => {
  const log = new FactLog()
  const [a, b] = [log.seal('a'), log.seal('b')]
  for (const digest of [a, b]) log.promote('hello/dev', digest)
  log.promote('hello/test', b)
  const subject = { kind: 'key', environment: 'hello/dev', sequence: 2 } as const
  const { of } = findSubject(log.ledger, subject)
  deny(log, of!)
  expect(admissible(log.ledger, 'hello/dev')).toEqual([])
  expect(admissible(log.ledger, 'hello/test').map((one) => one.digest)).toEqual([b])
  expect(admissibleAnywhere(log.ledger, b)).toBe(true)
  expect(planReturn(log.ledger, 'hello/dev')).toMatchObject({ body: { target: { digest: a } } })
  expect(planScale(log.ledger, 'hello/dev', { instances: 3 })).toMatchObject({ rule: 'denied' })
  expect(servesDenied(log.ledger, environmentOf(log.ledger, 'hello/test'))).toBe(false)
  log.promote('hello/dev', a, 'rollback')
  expect(rollbackTargets(log.ledger, 'hello/dev')).toEqual([])
  expect(() => findSubject(log.ledger, { ...subject, sequence: 9 })).toThrow('no key 9')
})

test('a denied base reaches everything that was built on it, and what is built on it later', () => {
  const log = new FactLog()
  const before = sealFrom(log, 'before', service)
  const beside = sealFrom(log, 'beside', {
    ...service,
    lock: digestFor('service 2'),
    base: patched,
  })
  log.promote('hello/dev', beside)
  log.promote('hello/dev', before)
  deny(log, { kind: 'template', ...debian })
  const after = sealFrom(log, 'after', { ...service, lock: digestFor('service 3') })
  expect([...log.ledger.denied.keys()]).toEqual([before, after])
  expect(planReturn(log.ledger, 'hello/dev')).toMatchObject({
    body: { target: { digest: beside } },
  })
  const manual = { automatic: false }
  expect(planPromotion(log.ledger, 'hello/dev', { digest: after, ...manual })).toMatchObject({
    rule: 'denied',
  })
})

test('a denied template reaches its own artifacts and no other', () => {
  const log = new FactLog()
  const own = sealFrom(log, 'own', service)
  sealFrom(log, 'other', { ...service, lock: digestFor('service 2') })
  deny(log, { kind: 'template', name: service.name, lock: service.lock })
  expect([...log.ledger.denied.keys()]).toEqual([own])
})

test('the first denial stands, whatever is denied after it', () => {
  const log = new FactLog()
  const own = sealFrom(log, 'own', service)
  log.add({ kind: 'denial', artifact: own, body: { ...said, reason: 'first' } })
  deny(log, { kind: 'template', ...debian })
  deny(log, { kind: 'template', ...debian })
  expect(log.ledger.denied.get(own)?.body.reason).toBe('first')
  expect(log.ledger.deniedTemplates.get(debian.lock)?.index).toBe(2)
})

test('a template is named by how a lock on record begins, or by a lock in full', () => {
  const log = new FactLog()
  sealFrom(log, 'own', service)
  const find = (name: string, lock: string) =>
    findSubject(log.ledger, { kind: 'template', name, lock })
  const hex = debian.lock.slice('sha256:'.length)
  expect(find('debian-base', hex.slice(0, 8)).of).toEqual({ kind: 'template', ...debian })
  expect(find('node-service', service.lock).of).toMatchObject({ lock: service.lock })
  const unseen: Digest = digestFor('not built yet')
  expect(find('debian-base', unseen).of).toMatchObject({ lock: unseen })
  expect(() => find('debian-base', 'ffffff')).toThrow('0 locks of debian-base begin with ffffff')
})

test('artifacts of which it is not on record what their template stands on are told of', () => {
  const log = new FactLog()
  const old = sealFrom(log, 'old', { name: 'node-service', lock: digestFor('service 0') })
  sealFrom(log, 'own', service)
  deny(log, { kind: 'template', ...debian })
  expect(unknownAncestry(log.ledger, { kind: 'template', ...debian })).toEqual([old])
  expect(unknownAncestry(log.ledger, null)).toEqual([])
})
