import { beforeAll, expect, test } from 'vitest'
import { roleOf, roles, type Role } from '../../src/domain/role.ts'
import type { FactKind } from '../../src/domain/statement.ts'
import {
  bundleBytes,
  parseLoggedBundle,
  withoutLogEntry,
  type LoggedBundle,
} from '../../signing/bundle.ts'
import { signPayload } from '../../signing/sign.ts'
import { checkWithSigstore } from '../../signing/sigstore.ts'
import { statementBytes } from '../../signing/statements.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { signedLog, type SignedLog } from '../helpers/signed-log.ts'
import { example } from './examples.ts'

const refused = expect.objectContaining({ code: 'verification_failed' })
const kinds = Object.keys(roleOf) as FactKind[]

type Path = readonly (string | number)[]

/** Every place in a JSON value, containers included. */
function places(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, one]) => places(one, [...path, key]))]
}

function at(value: unknown, path: Path): unknown {
  return path.reduce((one, key) => (one as Record<string, unknown>)[key], value)
}

function withAt(value: unknown, path: Path, put: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return put
  const copy = structuredClone(value) as Record<string, unknown>
  if (rest.length === 0 && put === undefined) delete copy[key]
  else copy[key] = withAt(copy[key], rest, put)
  return copy
}

let log: SignedLog
let other: SignedLog
/** Bundles that are all valid, but for those of the other log. */
let bundles: Record<'x' | 'y' | 'sealed' | 'later' | 'foreign', LoggedBundle>

beforeAll(async () => {
  log = signedLog()
  other = signedLog()
  await log.add(example('key', 1))
  await log.add(example('key', 2))
  await log.add(example('sealed', 1))
  const [x, y, sealed] = [0, 1, 2].map((index) => log.bundleAt(index)) as [
    LoggedBundle,
    LoggedBundle,
    LoggedBundle,
  ]
  for (const seed of [3, 4, 5]) await log.add(example('change', seed))
  for (const seed of [1, 2, 3]) await other.add(example('key', seed))
  bundles = { x, y, sealed, later: log.bundleAt(0), foreign: other.bundleAt(0) }
})

const wanted = { role: 'promote' } as const

test.each(kinds)('a logged %s bundle is accepted as what it is', async (kind) => {
  const signable = example(kind, 9)
  const bundle = await log.add(signable)
  const verified = verifyBundle(bundle, log.trust, { kind })
  expect(verified.signable).toEqual(signable)
  expect(verified).toMatchObject({ role: roleOf[kind], fact: { kind, index: verified.index } })
  expect(parseLoggedBundle(bundleBytes(bundle))).toEqual(bundle)
})

test.each(['y', 'sealed', 'later', 'foreign'] as const)('no part of x may come from %s', (from) => {
  const { x } = bundles
  expect(verifyBundle(x, log.trust, wanted).index).toBe(0)
  // The same entry proved against a later tree is as good a proof: only its parts must not mix.
  const whole = new Set(['', 'verificationMaterial', 'verificationMaterial.tlogEntries'])
  const isWhole = (path: string) =>
    whole.has(path) || /^verificationMaterial\.tlogEntries\.0(\.inclusionProof)?$/.test(path)
  const tried = places(x).filter((path) => {
    const name = path.join('.')
    if (from === 'later' ? isWhole(name) : name === '') return false
    const [own, its] = [at(x, path), at(bundles[from], path)]
    return its !== undefined && JSON.stringify(own) !== JSON.stringify(its)
  })
  expect(tried.length).toBeGreaterThan(3)
  for (const path of tried) {
    const mixed = withAt(x, path, at(bundles[from], path))
    expect(() => verifyBundle(mixed, log.trust, wanted)).toThrow(refused)
  }
})

test('no part of a bundle may be missing, and none may be added', () => {
  const { x } = bundles
  for (const path of places(x)) {
    const less = withAt(x, path, undefined)
    expect(() => verifyBundle(less, log.trust, wanted)).toThrow(refused)
    const value = at(x, path)
    if (typeof value !== 'object' || value === null) continue
    const more = withAt(x, [...path, Array.isArray(value) ? value.length : 'more'], 'more')
    expect(() => verifyBundle(more, log.trust, wanted)).toThrow(refused)
  }
})

test('no character of any text in a bundle may be another', () => {
  const { x } = bundles
  for (const path of places(x)) {
    const text = at(x, path)
    if (typeof text !== 'string') continue
    const step = Math.max(1, Math.floor(text.length / 20))
    for (let n = 0; n < text.length; n += step) {
      const put = `${text.slice(0, n)}${text[n] === 'A' ? 'B' : 'A'}${text.slice(n + 1)}`
      expect(() => verifyBundle(withAt(x, path, put), log.trust, wanted)).toThrow(refused)
    }
  }
})

const wrongRoles = kinds.flatMap((kind) =>
  roles.filter((role) => role !== roleOf[kind]).map((role): [FactKind, Role] => [kind, role]),
)
test.each(wrongRoles)('a %s statement by the %s key is refused', async (kind, role) => {
  const bundle = await log.add(example(kind), role)
  const attempt = () => verifyBundle(bundle, log.trust, { role })
  expect(attempt).toThrow(expect.objectContaining({ place: 'role' }))
})

test('a FAILED summary by the promote key is refused as a key, though it is well signed and logged', async () => {
  const bundle = await log.add(example('denial'), 'promote')
  expect(() => verifyBundle(bundle, log.trust, { kind: 'key' })).toThrow(refused)
  expect(() => verifyBundle(bundle, log.trust, { kind: 'denial' })).toThrow(refused)
})

test('a statement of another kind, role or artifact than wanted is refused', () => {
  const { x } = bundles
  const subject = example('key', 2).body.digest
  for (const asked of [
    { kind: 'sealed' },
    { kind: 'denial' },
    { role: 'record' },
    { kind: 'key', subject },
  ] as const) {
    expect(() => verifyBundle(x, log.trust, asked)).toThrow(refused)
  }
  const own = example('key', 1).body.digest
  expect(verifyBundle(x, log.trust, { kind: 'key', subject: own }).role).toBe('promote')
})

test('a bundle without its log entry, and two payloads in one bundle, are refused', async () => {
  const { x } = bundles
  expect(() => verifyBundle(withoutLogEntry(x), log.trust, wanted)).toThrow(refused)
  const text = Buffer.from(bundleBytes(x)).toString()
  const twice = text.replace('"payload":', '"payload":"AAAA","payload":')
  expect(() => parseLoggedBundle(Buffer.from(twice))).toThrow(refused)
})

test('a signature of the same words that is not the logged one is refused', async () => {
  const payload = statementBytes(example('key', 1), log.trust.origin)
  const again = await signPayload(payload, log.keys.roles.promote)
  const mixed = { ...bundles.x, dsseEnvelope: again.dsseEnvelope }
  expect(() => verifyBundle(mixed, log.trust, wanted)).toThrow(
    expect.objectContaining({ place: 'inclusion' }),
  )
})

/** Checks the entry at an index when the promote key is valid in a range. */
const inRange = (index: number, validFrom: number, validTo: number | null) => () => {
  const ranged = log.trust.roles.map((key) =>
    key.role === 'promote' ? { ...key, validFrom, validTo } : key,
  )
  return verifyBundle(log.bundleAt(index), { ...log.trust, roles: ranged }, wanted)
}

test('a key is good for its range of log indexes and no further', () => {
  expect(inRange(1, 1, 2)).not.toThrow()
  expect(inRange(1, 0, 1)).toThrow(expect.objectContaining({ place: 'inclusion' }))
  expect(inRange(0, 1, null)).toThrow(expect.objectContaining({ place: 'inclusion' }))
})

test('one key in two roles speaks for neither', () => {
  const [promote] = log.trust.roles.filter((key) => key.role === 'promote')
  const trust = {
    ...log.trust,
    roles: [...log.trust.roles, { ...promote!, role: 'deny' as const }],
  }
  expect(() => verifyBundle(bundles.x, trust, wanted)).toThrow(
    expect.objectContaining({ place: 'signature' }),
  )
})

test("Sigstore's own verifier agrees, and refuses by itself what was changed", () => {
  const { x, y, foreign } = bundles
  expect(() => checkWithSigstore(x, log.trust)).not.toThrow()
  const wrong = [
    foreign,
    { ...x, dsseEnvelope: y.dsseEnvelope },
    { ...x, verificationMaterial: y.verificationMaterial },
    withoutLogEntry(x) as LoggedBundle,
  ]
  for (const bundle of wrong) expect(() => checkWithSigstore(bundle, log.trust)).toThrow(refused)
})
