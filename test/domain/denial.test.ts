import { expect, test } from 'vitest'
import { findSigningKey, findSubject, unknownAncestry } from '../../src/domain/denial.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { admissible, environmentOf } from '../../src/domain/ledger.ts'
import { planReturn, servesDenied } from '../../src/domain/plan-return.ts'
import { planPromotion, planScale, rollbackTargets } from '../../src/domain/plan.ts'
import type { DeniableRole, DeniedOther, Leaf, TemplateLock } from '../../src/domain/statement.ts'
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

/** Seals an artifact whose provenance and SBOM are in the log. */
function sealSigned(log: FactLog, name: string): { artifact: Digest; provenance: number } {
  const artifact = digestFor(name)
  const template = { name: 'node-service', lock: digestFor('lock') }
  const body = { build: `build:${name}`, app: 'hello', commit: 'c', template }
  const provenance = log.add({ kind: 'provenance', artifact, body })
  const sbom = log.add({ kind: 'sbom', artifact })
  sealOn(log, name, { provenance: provenance.leaf, sbom: sbom.leaf })
  return { artifact, provenance: provenance.index }
}

function sealOn(log: FactLog, name: string, words: { provenance: Leaf; sbom: Leaf }): void {
  const scratch = new FactLog()
  const artifact = scratch.seal(name)
  const [fact] = scratch.facts
  if (fact?.kind !== 'sealed') throw new Error('not sealed')
  log.add({ kind: 'sealed', artifact, body: { ...fact.body, ...words } })
}

/** Denies what the role's key said from an index on, until now. */
function denyWords(log: FactLog, role: DeniableRole, from: number): void {
  const [fingerprint, to] = [digestFor(`${role} key`), log.facts.length]
  deny(log, { kind: 'signing-key', role, fingerprint, from, to })
}

const dev = 'hello/dev'

/** `a` and then `b` in dev; the indexes at which what is said of `b` begins. */
function twoServed() {
  const log = new FactLog()
  const { artifact: a } = sealSigned(log, 'a')
  log.promote(dev, a)
  const { artifact: b, provenance } = sealSigned(log, 'b')
  const change = log.facts.length
  log.promote(dev, b)
  return { log, a, b, at: { provenance, sbom: provenance + 1, sealed: change - 1, change } }
}

test.each<[DeniableRole, 'provenance' | 'sbom' | 'sealed']>([
  ['build', 'provenance'],
  ['build', 'sbom'],
  ['record', 'sealed'],
])('an artifact whose %s key is not believed since its %s is denied', (role, since) => {
  const { log, a, b, at } = twoServed()
  denyWords(log, role, at[since])
  expect([...log.ledger.denied.keys()]).toEqual([b])
  expect(admissible(log.ledger, dev)).toEqual([])
  expect(planReturn(log.ledger, dev)).toMatchObject({ body: { target: { digest: a } } })
})

test.each<[DeniableRole, number]>([
  ['promote', 1],
  ['record', 0],
])(
  'a key is not admissible when what the %s key said is denied from its own word on',
  (role, after) => {
    const { log, a, b, at } = twoServed()
    denyWords(log, role, at.change + after)
    expect([...log.ledger.denied.keys()]).toEqual([])
    expect(admissible(log.ledger, dev)).toEqual([])
    expect(servesDenied(log.ledger, environmentOf(log.ledger, dev))).toBe(true)
    expect(planReturn(log.ledger, dev)).toMatchObject({ body: { target: { digest: a } } })
    // It proves nothing for the next environment either; its artifact may come again under another key.
    const onwards = { digest: b, automatic: false }
    expect(planPromotion(log.ledger, 'hello/test', onwards)).toMatchObject({
      rule: 'not-proved-in-previous-environment',
    })
    log.promote(dev, a, 'rollback')
    log.promote(dev, b)
    expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([b])
    expect(planPromotion(log.ledger, 'hello/test', onwards).kind).toBe('change')
  },
)

test('what was said before, by another role, or after the key was followed stays good', () => {
  const { log, b, at } = twoServed()
  const { length } = log.facts
  denyWords(log, 'promote', at.change + 2)
  denyWords(log, 'record', length)
  denyWords(log, 'build', at.sbom + 1)
  for (const role of ['test', 'deny'] as const) denyWords(log, role, 0)
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([b])
  expect([...log.ledger.denied.keys()]).toEqual([])
  // A range that ends after the denial would reach keys that came after: it never does.
  const of = { kind: 'signing-key', role: 'promote', fingerprint: digestFor('x') } as const
  deny(log, { ...of, from: log.facts.length, to: 10_000 })
  const { artifact: c } = sealSigned(log, 'c')
  log.promote(dev, c)
  expect(admissible(log.ledger, dev).map((one) => one.digest)).toEqual([c])
})

test('what is sealed later on denied provenance is denied from its beginning', () => {
  const log = new FactLog()
  const artifact = digestFor('late')
  const template = { name: 'node-service', lock: digestFor('lock') }
  const body = { build: 'build:late', app: 'hello', commit: 'c', template }
  const { leaf } = log.add({ kind: 'provenance', artifact, body })
  denyWords(log, 'build', 0)
  const { leaf: sbom } = log.add({ kind: 'sbom', artifact })
  sealOn(log, 'late', { provenance: leaf, sbom })
  expect([...log.ledger.denied.keys()]).toEqual([artifact])
  // Provenance that is not in the log is nobody's word at all.
  sealOn(log, 'nowhere', { provenance: 'f'.repeat(64), sbom })
  expect([...log.ledger.denied.keys()]).toEqual([artifact, digestFor('nowhere')])
})

test('denials that a denied key signed stand, and later ones reach further back', () => {
  const { log, a, b, at } = twoServed()
  log.add({ kind: 'denial', artifact: a, body: said })
  denyWords(log, 'deny', 0)
  expect([...log.ledger.denied.keys()]).toEqual([a])
  denyWords(log, 'build', at.sbom + 1)
  denyWords(log, 'build', at.provenance)
  expect([...log.ledger.denied.keys()]).toEqual([a, b])
})

const ranges = [
  { role: 'root', fingerprint: digestFor('root'), from: 0, to: null },
  { role: 'promote', fingerprint: digestFor('old'), from: 3, to: 9 },
  { role: 'promote', fingerprint: digestFor('now'), from: 9, to: null },
] as const

test.each([
  [null, { from: 9, to: 9 }],
  [0, { from: 3, to: 9 }],
  [5, { from: 5, to: 9 }],
  [70, { from: 9, to: 9 }],
])('a signing key is denied from %s on, within its range', (from, range) => {
  const subject = { kind: 'signing-key', fingerprint: digestFor('old'), from } as const
  const found = findSubject(new FactLog().ledger, subject, ranges)
  expect(found.of).toEqual({
    kind: 'signing-key',
    role: 'promote',
    fingerprint: digestFor('old'),
    ...range,
  })
})

test('a root, a key that nobody named, and one that still signs are not denied', () => {
  const { ledger } = new FactLog()
  const subject = { kind: 'signing-key', fingerprint: digestFor('now'), from: null } as const
  expect(() => findSubject(ledger, subject, ranges)).toThrow('still signs')
  expect(() => findSigningKey(ranges, digestFor('none'))).toThrow('names no signing key')
  expect(() => findSigningKey(ranges, digestFor('root'))).toThrow('root')
})
