import { describe, expect, test } from 'vitest'
import { roleKeyFrom, trustRootOf } from '../../signing/keys.ts'
import {
  demandRoot,
  startHistory,
  takeRoles,
  withNextKey,
  type RoleHistory,
} from '../../signing/role-history.ts'
import { fingerprintOf, type RoleKey, type TrustRoot } from '../../signing/trust.ts'
import { memoryKeys, p256 } from '../helpers/signed-log.ts'

const first = trustRootOf(memoryKeys(), 'kiln.local')
const last = (trust: TrustRoot, role: RoleKey['role']) =>
  trust.roles.findLast((key) => key.role === role)!
const fresh = (role: RoleKey['role'], from: number) => roleKeyFrom(role, p256().publicKey, from)

/** The list that a statement at this index says, taken into the history. */
function say(history: RoleHistory, index: number, trust: TrustRoot): RoleHistory {
  return takeRoles(history, { trust, by: last(history.trust, 'root'), index })
}

const begun = say(startHistory(first), 0, first)
const rotated = withNextKey(first, fresh('promote', 10), 9)

test('a key is followed by another from the entry after the statement on', () => {
  const history = say(begun, 9, rotated)
  expect(history).toMatchObject({ at: 9, counted: [0, 9] })
  expect(rotated.roles.filter(({ role }) => role === 'promote')).toMatchObject([
    { validFrom: 0, validTo: 10 },
    { validFrom: 10, validTo: null },
  ])
  expect(say(history, 12, rotated).at).toBe(12)
})

test('a root follows a root, and what either signed vouches for all of it', () => {
  const [old, next] = [fingerprintOf(last(first, 'root')), fresh('root', 10)]
  const list = withNextKey(first, next, 9)
  const named = say(begun, 9, list)
  demandRoot(named, old)
  // Named is not vouched: anyone can name a public key.
  expect(() => demandRoot(named, fingerprintOf(next))).toThrow('not by the root')
  const vouched = say(named, 10, list)
  for (const pin of [old, fingerprintOf(next)]) demandRoot(vouched, pin)
  expect(() => demandRoot(vouched, fingerprintOf(fresh('root', 0)))).toThrow('not by the root')
  expect(() => demandRoot(startHistory(first), fingerprintOf(next))).toThrow('not by the root')
})

const without = (trust: TrustRoot, role: RoleKey['role']): TrustRoot => ({
  ...trust,
  roles: trust.roles.filter((key) => key.role !== role),
})

describe('a list that may not follow counts for nothing:', () => {
  const other = trustRootOf(memoryKeys(), 'kiln.local')
  const change = (trust: TrustRoot, role: RoleKey['role'], by: Partial<RoleKey>): TrustRoot => ({
    ...trust,
    roles: trust.roles.map((key) => (key === last(trust, role) ? { ...key, ...by } : key)),
  })
  const next = fresh('promote', 10)
  /** The list with another end of the range of the role's first key. */
  const endedIn = (list: TrustRoot, role: RoleKey['role'], validTo: number): TrustRoot => ({
    ...list,
    roles: list.roles.map((key) =>
      key.publicKey === last(first, role).publicKey ? { ...key, validTo } : key,
    ),
  })
  const ended = (role: RoleKey['role'], validTo: number) =>
    endedIn(withNextKey(first, fresh(role, 10), 9), role, validTo)
  test.each<[string, TrustRoot]>([
    ['of another log', { ...rotated, logKey: other.logKey }],
    ['of another origin', { ...rotated, origin: 'other.example' }],
    ['with a key that is gone', without(rotated, 'build')],
    ['with a key of another role than before', change(rotated, 'build', { role: 'test' })],
    ['with another key in the place of one', change(rotated, 'build', last(other, 'build'))],
    ['with a range that begins earlier', change(rotated, 'build', { validFrom: 1 })],
    [
      'with a new key that is valid before the statement',
      change(rotated, 'promote', { validFrom: 9 }),
    ],
    [
      'with a new key that is valid for what was said',
      change(rotated, 'promote', { validFrom: 0 }),
    ],
    ['with a new key that begins later', change(rotated, 'promote', { validFrom: 11 })],
    ['with a new key that has ended', change(rotated, 'promote', { validTo: 12 })],
    ['with two keys that sign', { ...first, roles: [...first.roles, next] }],
    [
      'with one key in two roles',
      { ...rotated, roles: [...rotated.roles, { ...next, role: 'test' }] },
    ],
    ['with a role that has no key any more', change(first, 'deny', { validTo: 10 })],
    ['without a root', change(first, 'root', { validTo: 10 })],
    ['with a range that ends later', ended('promote', 11)],
    ['with a range that ends before the statement: what was said stays said', ended('promote', 5)],
    ['with a root that is taken back', ended('root', 4)],
  ])('%s', (_what, list) => {
    expect(() => say(begun, 9, list)).toThrow('list of roles')
  })

  test('with a range that ends once more, earlier', () => {
    const history = say(begun, 9, rotated)
    expect(() => say(history, 12, endedIn(rotated, 'promote', 5))).toThrow(
      'ends with the statement',
    )
  })

  test('out of order', () => {
    expect(() => say(say(begun, 9, rotated), 8, rotated)).toThrow('list of roles')
  })

  test.each<[string, TrustRoot, RoleKey]>([
    ['signed by another root', first, last(other, 'root')],
    ['of another log', other, last(other, 'root')],
    ['with a key less', without(first, 'deny'), last(first, 'root')],
    ['with a key too many', rotated, last(first, 'root')],
    ['with a key from later on', change(first, 'deny', { validFrom: 3 }), last(first, 'root')],
  ])('the first one, %s', (_what, trust, by) => {
    expect(() => takeRoles(startHistory(first), { trust, by, index: 0 })).toThrow('list of roles')
  })
})
