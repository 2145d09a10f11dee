import { digestOfHex, type Digest } from './digest.ts'
import { KilnError } from './error.ts'
import { locksOf } from './fold-denial.ts'
import { environmentOf, type Ledger } from './ledger.ts'
import type { EnvironmentName } from './name.ts'
import type { Role } from './role.ts'
import type { DeniableRole, DeniedOther, Principal } from './statement.ts'

/**
 * What somebody wants never to start again. `lock`: in full, or how one on record begins. Of a signing key
 * all that it said at log index `from` and later; null: nothing of what it said until now.
 */
export type DeniedSubject =
  | { kind: 'artifact'; digest: Digest }
  | { kind: 'key'; environment: EnvironmentName; sequence: number }
  | { kind: 'template'; name: string; lock: string }
  | { kind: 'signing-key'; fingerprint: Digest; from: number | null }

/** A signing key as the log names it: its word counts at log indexes in `[from, to)`; null while it signs. */
export type SigningKeyRange = { role: Role; fingerprint: string; from: number; to: number | null }

/** One request to deny something; `id` is the operation's. */
export type DenialRequest = {
  id: string
  subject: DeniedSubject
  reason: string
  principal: Principal
  requestedAt: string
}

/** The subject as people write it. */
export function subjectText(subject: DeniedSubject): string {
  switch (subject.kind) {
    case 'artifact':
      return subject.digest
    case 'key':
      return `${subject.environment}@${subject.sequence}`
    case 'template':
      return `${subject.name}@${subject.lock}`
    case 'signing-key':
      return subject.from === null
        ? `signing-key:${subject.fingerprint}`
        : `signing-key:${subject.fingerprint} from ${subject.from}`
  }
}

/** What a denial says of its subject, found in the ledger. */
export type FoundSubject = {
  artifact: Digest | null
  app: string | null
  of: DeniedOther | null
  /** Names the subject for good: two denials of it are one decision. */
  name: string
}

/**
 * Finds what shall be denied. Pure. Throws `not_found` or `ambiguous`, with what there is. A signing key is
 * found among `keys`, all that the log names; its range must have ended.
 */
export function findSubject(
  ledger: Ledger,
  subject: DeniedSubject,
  keys: readonly SigningKeyRange[] = [],
): FoundSubject {
  switch (subject.kind) {
    case 'artifact':
      return findArtifact(ledger, subject.digest)
    case 'key':
      return findKey(ledger, subject)
    case 'template':
      return findTemplate(ledger, subject)
    case 'signing-key':
      return findWords(keys, subject)
  }
}

function findArtifact(ledger: Ledger, digest: Digest): FoundSubject {
  const sealed = ledger.sealed.get(digest)
  if (sealed === undefined)
    throw new KilnError('not_found', `${digest} is not a sealed artifact`, {
      fix: 'kiln history <app> lists what is',
    })
  return { artifact: digest, app: sealed.body.app, of: null, name: `artifact ${digest}` }
}

function findKey(
  ledger: Ledger,
  { environment, sequence }: Extract<DeniedSubject, { kind: 'key' }>,
): FoundSubject {
  const { good, pending } = environmentOf(ledger, environment)
  const key = [...good, pending].find((one) => one?.body.sequence === sequence)
  if (!key) {
    throw new KilnError('not_found', `${environment} has no key ${sequence} that was active`, {
      fix: `kiln history ${environment}`,
    })
  }
  const of = { kind: 'key', environment, sequence, key: key.leaf } as const
  return { artifact: null, app: null, of, name: `key ${key.leaf}` }
}

/** A lock in full need not be on record: what is built from it later is denied from its beginning. */
function findTemplate(
  ledger: Ledger,
  { name, lock }: Extract<DeniedSubject, { kind: 'template' }>,
): FoundSubject {
  const hex = lock.replace('sha256:', '')
  const known = hex.length === 64 ? [digestOfHex(hex)] : locksNamed(ledger, name)
  const found = known.filter((one) => one.startsWith(`sha256:${hex}`))
  const [only] = found
  if (only === undefined || found.length > 1) {
    const code = only === undefined ? 'not_found' : 'ambiguous'
    throw new KilnError(code, `${found.length} locks of ${name} begin with ${hex}`, {
      fix: `write one of them in full: ${known.join(', ') || 'none is on record'}`,
    })
  }
  const of = { kind: 'template', name, lock: only } as const
  return { artifact: null, app: null, of, name: `template ${only}` }
}

/** The key that a denial names. Throws `not_found`, and `invalid_input` for a root: all else rests on its word. */
export function findSigningKey(
  keys: readonly SigningKeyRange[],
  fingerprint: Digest,
): SigningKeyRange & { role: DeniableRole } {
  const key = keys.find((one) => one.fingerprint === fingerprint)
  if (key === undefined) {
    throw new KilnError('not_found', `the log names no signing key ${fingerprint}`, {
      fix: 'kiln signing list',
    })
  }
  const { role } = key
  if (role !== 'root') return { ...key, role }
  throw new KilnError('invalid_input', 'what a root said cannot be denied: all else rests on it', {
    place: fingerprint,
    fix: 'kiln signing rotate root, then pin the new root everywhere; if the log key may be stolen too, begin a new log',
  })
}

function findWords(
  keys: readonly SigningKeyRange[],
  { fingerprint, from: asked }: Extract<DeniedSubject, { kind: 'signing-key' }>,
): FoundSubject {
  const { role, from: first, to } = findSigningKey(keys, fingerprint)
  if (to === null) {
    throw new KilnError('refused', `${fingerprint} still signs for the ${role} role`, {
      fix: `kiln signing rotate ${role}`,
    })
  }
  const from = Math.min(Math.max(asked ?? to, first), to)
  const of = { kind: 'signing-key', role, fingerprint, from, to } as const
  return { artifact: null, app: null, of, name: `signing-key ${fingerprint} ${from}` }
}

/** The locks of a template that artifacts were built from, or stand on. */
function locksNamed(ledger: Ledger, name: string): Digest[] {
  const locks = [...ledger.sealed.values()].flatMap(({ body: { template } }) =>
    [template, template.base].filter((one) => one?.name === name).map((one) => one?.lock),
  )
  return [...new Set(locks.filter((lock) => lock !== undefined))]
}

/**
 * Artifacts that a denial of a template may miss: sealed before what their template stands on was on
 * record. Of those built from a template of this very name it is known.
 */
export function unknownAncestry(ledger: Ledger, of: DeniedOther | null): readonly Digest[] {
  if (of?.kind !== 'template') return []
  return [...ledger.sealed.values()].flatMap((sealed) => {
    const { artifact, body } = sealed
    const unknown = body.template.base === undefined && body.template.name !== of.name
    const open =
      artifact !== null && !ledger.denied.has(artifact) && !locksOf(sealed).includes(of.lock)
    return unknown && open ? [artifact] : []
  })
}
