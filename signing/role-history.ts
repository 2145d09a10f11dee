import { KilnError } from '../src/domain/error.ts'
import { roles } from '../src/domain/role.ts'
import { fingerprintOf, type RoleKey, type TrustRoot } from './trust.ts'

/** What the statements about roles in the log have said so far. */
export type RoleHistory = {
  /** What holds now: until the log says anything, what the reader knew beforehand. */
  trust: TrustRoot
  /** Log index of the last statement that counted; -1 before the first. */
  at: number
  /** Log indexes of all that counted. */
  counted: readonly number[]
  /** Fingerprints of the root keys that signed one: a verifier may have pinned any of them. */
  roots: readonly string[]
}

/** A statement about roles whose signature was checked. `by` is the root key that signed it. */
export type SaidRoles = { trust: TrustRoot; by: RoleKey; index: number }

export function startHistory(trust: TrustRoot): RoleHistory {
  return { trust, at: -1, counted: [], roots: [] }
}

/**
 * The history with one more statement, in log order. Pure; throws `verification_failed` on a list that
 * may not follow: such a statement counts for nothing.
 */
export function takeRoles(history: RoleHistory, said: SaidRoles): RoleHistory {
  const { trust, by, index } = said
  if (index <= history.at) throw no('an earlier statement after a later one')
  if (history.at === -1) demandFirst(history.trust, said)
  else demandNext(history.trust, trust, index)
  const fingerprint = fingerprintOf(by)
  return {
    trust,
    at: index,
    counted: [...history.counted, index],
    roots: [...new Set([...history.roots, fingerprint])],
  }
}

/**
 * Throws `verification_failed` unless `pinned` signed the roles of this log. Every root that signed a list
 * vouches for all of it, the keys before its own among them; naming a root's public key proves nothing.
 */
export function demandRoot(history: RoleHistory, pinned: string): void {
  const first = history.trust.roles.find(({ role }) => role === 'root')
  const known = history.at === -1 && first !== undefined ? [fingerprintOf(first)] : history.roots
  if (known.includes(pinned)) return
  throw new KilnError(
    'verification_failed',
    `the roles of this log were made by ${known.join(', ') || 'nobody'}, not by the root ${pinned}`,
    {
      place: 'root',
      fix: 'find out who replaced the log or its keys; a root that changed for a good reason is pinned with --root or KILN_ROOT',
    },
  )
}

/** The list in which a new key follows the last one of its role, as the statement at log index `at` says it. */
export function withNextKey(trust: TrustRoot, key: RoleKey, at: number): TrustRoot {
  const ended = trust.roles.map((old) =>
    old.role === key.role && old.validTo === null ? { ...old, validTo: at + 1 } : old,
  )
  return { ...trust, roles: [...ended, key] }
}

/** The first list: of the log that the reader knows, each role with one key from the beginning, signed by its root. */
function demandFirst(known: TrustRoot, { trust, by }: SaidRoles): void {
  demandSameLog(known, trust)
  const each = roles.map((role) => trust.roles.filter((key) => key.role === role))
  const whole =
    trust.roles.length === roles.length &&
    each.every(([key]) => key !== undefined && key.validFrom === 0 && key.validTo === null)
  if (!whole || !distinct(trust)) throw no('the first list does not begin with one key a role')
  if (each[0]?.[0]?.keyHint !== by.keyHint) throw no('the first list is not signed by its own root')
}

/**
 * Throws `verification_failed` unless a list may follow another at this log index. Keys are only added and
 * ended: what a list said of a key before stays said, and what a key said in its range is on record for
 * good. Epochs and sequences that hosts have seen rest on it; what a stolen key said is denied instead.
 */
export function demandNext(before: TrustRoot, said: TrustRoot, at: number): void {
  demandSameLog(before, said)
  if (said.roles.length < before.roles.length || !distinct(said)) {
    throw no('a key is gone, or named twice')
  }
  for (const [n, key] of said.roles.entries()) {
    const old = before.roles[n]
    if (old === undefined) demandAdded(key, at)
    else demandKept(old, key, at)
  }
  for (const role of roles) demandOne(said, role)
}

function demandSameLog(known: TrustRoot, said: TrustRoot): void {
  if (said.origin !== known.origin || said.logKey !== known.logKey) {
    throw no('it is about another log')
  }
}

/** A new key may sign what comes after the statement that names it, nothing before. */
function demandAdded(key: RoleKey, at: number): void {
  if (key.validFrom !== at + 1 || key.validTo !== null) {
    throw no(`a new ${key.role} key must be valid from index ${at + 1} on`)
  }
}

function demandKept(old: RoleKey, key: RoleKey, at: number): void {
  const same =
    key.role === old.role && key.publicKey === old.publicKey && key.validFrom === old.validFrom
  if (!same) throw no(`it says another thing of a ${old.role} key than before`)
  if (key.validTo === old.validTo) return
  if (old.validTo !== null || key.validTo !== at + 1) {
    throw no(`the range of a ${old.role} key ends with the statement that says so, once`)
  }
}

function demandOne({ roles: keys }: TrustRoot, role: RoleKey['role']): void {
  const current = keys.filter((key) => key.role === role && key.validTo === null).length
  if (current !== 1) throw no(`${current} current keys for the ${role} role`)
}

function distinct({ roles: keys }: TrustRoot): boolean {
  return new Set(keys.map(({ keyHint }) => keyHint)).size === keys.length
}

function no(message: string): KilnError {
  return new KilnError('verification_failed', `list of roles: ${message}`, { place: 'roles' })
}
