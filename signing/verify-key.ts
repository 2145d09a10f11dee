import type { Digest } from '../src/domain/digest.ts'
import { denialOf } from '../src/domain/fold-denial.ts'
import { admissible, type Ledger } from '../src/domain/ledger.ts'
import type { EnvironmentName } from '../src/domain/name.ts'
import { rehearsable } from '../src/domain/rehearsal.ts'
import { roleOf } from '../src/domain/role.ts'
import type { FactOf } from '../src/domain/statement.ts'
import { checkLoggedBundle, type LoggedBundle } from './bundle.ts'
import { checkWithSigstore } from './sigstore.ts'
import { factOf } from './statements.ts'
import type { RoleKey, TrustRoot } from './trust.ts'
import { verifyLogEntry, verifyRole, verifySignature } from './verify.ts'

/** The checks of a provisioning key, in order. The first that fails is the reason for the refusal. */
const keyChecks = [
  'signature',
  'role',
  'inclusion',
  'environment',
  'digest',
  'definition',
  'sequence',
  'valid in the ledger',
  'not denied',
  'admissible',
] as const

export type KeyCheck = {
  name: (typeof keyChecks)[number]
  ok: boolean
  found: string
  wanted: string
}

/** A check as people are told it: what was found, and what was wanted where that differs. */
export function toldCheck({ name, ok, found, wanted }: KeyCheck): {
  name: string
  passed: boolean
  detail: string
} {
  return { name, passed: ok, detail: ok ? found : `found ${found}, wanted ${wanted}` }
}

export type KeyVerdict =
  | { verdict: 'admissible'; key: FactOf<'key'>; checks: readonly KeyCheck[] }
  | { verdict: 'refused'; reason: KeyCheck; checks: readonly KeyCheck[] }

export type KeyQuestion = {
  /** The bundle as JSON, from wherever it came. */
  bundle: unknown
  trust: TrustRoot
  /** Without a definition any is right: a host always names it. */
  expected: { environment: EnvironmentName; digest: Digest; definition?: Digest }
  facts: {
    /** The fold over a log whose checkpoint was verified and is fresh enough for the caller. */
    ledger: Ledger
    /** The highest sequence ever seen for the environment. */
    minSequence?: number
    /** Whether it shall only be started aside, without traffic: then the rollback target alone may. */
    rehearsal?: boolean
  }
}

/**
 * Whether this key lets this pair start in this environment now. Pure; every check is made and told,
 * and one that cannot be made (an error, a missing fact) is a no.
 */
export function verifyKey(question: KeyQuestion): KeyVerdict {
  const { checks: outer, key } = checkBundle(question)
  const checks = [...outer, ...checkFacts(key, question)]
  const reason = checks.find((check) => !check.ok)
  if (reason !== undefined || key === null || checks.length !== keyChecks.length) {
    return { verdict: 'refused', reason: reason ?? unreadCheck('signature'), checks }
  }
  return { verdict: 'admissible', key, checks }
}

function unreadCheck(name: KeyCheck['name']): KeyCheck {
  return { name, ok: false, found: 'could not be checked', wanted: 'a check' }
}

function checkFacts(key: FactOf<'key'> | null, question: KeyQuestion): readonly KeyCheck[] {
  if (key === null) return keyChecks.slice(3).map(unreadCheck)
  return [
    ...checksOr(keyChecks.slice(3, 7), () => checkExpected(key, question)),
    ...checksOr(keyChecks.slice(7), () => checkLedger(key, question.facts)),
  ]
}

/** An error in a check is a no to all that were made with it. */
function checksOr(
  names: readonly KeyCheck['name'][],
  run: () => readonly KeyCheck[],
): readonly KeyCheck[] {
  try {
    return run()
  } catch {
    return names.map(unreadCheck)
  }
}

type Attempt<T> = { check: KeyCheck; value: T | null }

function attempt<T>(
  about: { name: KeyCheck['name']; wanted: string },
  run: () => { value: T; found: string } | null,
): Attempt<T> {
  try {
    const result = run()
    return result === null
      ? { check: { ...about, ok: false, found: 'not checked' }, value: null }
      : { check: { ...about, ok: true, found: result.found }, value: result.value }
  } catch (error) {
    const found = error instanceof Error ? error.message : 'an unknown error'
    return { check: { ...about, ok: false, found }, value: null }
  }
}

type Signed = { bundle: LoggedBundle; key: RoleKey }

function checkBundle({ bundle, trust }: KeyQuestion): {
  checks: readonly KeyCheck[]
  key: FactOf<'key'> | null
} {
  const signed = attempt<Signed>({ name: 'signature', wanted: 'by a trusted key' }, () => {
    const logged = checkLoggedBundle(bundle)
    const key = verifySignature(logged, trust)
    return { value: { bundle: logged, key }, found: `by the ${key.role} key` }
  })
  const role = attempt(
    { name: 'role', wanted: `a provisioning key by the ${roleOf.key} role` },
    () => {
      if (signed.value === null) return null
      const signable = verifyRole(signed.value.bundle, trust, signed.value.key)
      if (signable.kind !== 'key') throw new Error(`a ${signable.kind} statement`)
      return { value: signable, found: 'a provisioning key by the promote role' }
    },
  )
  const entry = attempt({ name: 'inclusion', wanted: `in the log ${trust.origin}` }, () => {
    if (signed.value === null) return null
    const place = verifyLogEntry(signed.value.bundle, trust, signed.value.key)
    checkWithSigstore(signed.value.bundle, trust)
    return { value: place, found: `index ${place.index} of ${place.checkpoint.size}` }
  })
  const checks = [signed.check, role.check, entry.check]
  if (role.value === null || entry.value === null) return { checks, key: null }
  const { leaf, index } = entry.value
  const fact = factOf(role.value, { leaf, index })
  return { checks, key: fact.kind === 'key' ? fact : null }
}

function checkExpected(key: FactOf<'key'>, question: KeyQuestion): readonly KeyCheck[] {
  const { expected, facts } = question
  const { body } = key
  const minimum = facts.minSequence ?? 1
  const same = (name: KeyCheck['name'], found: string, wanted: string | undefined): KeyCheck => ({
    name,
    ok: wanted === undefined || found === wanted,
    found,
    wanted: wanted ?? 'any',
  })
  return [
    same('environment', body.environment, expected.environment),
    same('digest', body.digest, expected.digest),
    same('definition', body.definition, expected.definition),
    {
      name: 'sequence',
      ok: body.sequence >= minimum,
      found: String(body.sequence),
      wanted: `${minimum} or later`,
    },
  ]
}

function checkLedger(
  key: FactOf<'key'>,
  { ledger, rehearsal = false }: KeyQuestion['facts'],
): readonly KeyCheck[] {
  const { body, leaf, index } = key
  const seen = index < ledger.size
  const isVoid = ledger.void.has(leaf)
  const denied = denialOf(ledger, key) !== null
  const target = rehearsal ? rehearsable(ledger, body.environment) : null
  const admitted = rehearsal
    ? [target].filter((one) => one !== null)
    : admissible(ledger, body.environment)
  return [
    {
      name: 'valid in the ledger',
      ok: seen && !isVoid,
      found: isVoid ? 'void: it lost a race or broke the chain' : seen ? 'valid' : 'not there',
      wanted: 'valid',
    },
    {
      name: 'not denied',
      ok: !denied,
      found: denied ? 'denied' : 'no denial',
      wanted: 'no denial',
    },
    {
      name: 'admissible',
      ok: admitted.some(
        (one) =>
          one.key === leaf &&
          one.digest === body.digest &&
          one.definition === body.definition &&
          one.sequence === body.sequence,
      ),
      found: `sequence ${body.sequence}`,
      wanted:
        admitted.map((one) => `sequence ${one.sequence}`).join(' or ') ||
        'none: nothing is admissible',
    },
  ]
}
