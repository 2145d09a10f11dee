import { digestOfHex, type Digest } from './digest.ts'
import { KilnError } from './error.ts'
import { locksOf } from './fold-denial.ts'
import { environmentOf, type Ledger } from './ledger.ts'
import type { EnvironmentName } from './name.ts'
import type { DeniedOther, Principal } from './statement.ts'

/** What somebody wants never to start again. `lock`: in full, or how one on record begins. */
export type DeniedSubject =
  | { kind: 'artifact'; digest: Digest }
  | { kind: 'key'; environment: EnvironmentName; sequence: number }
  | { kind: 'template'; name: string; lock: string }

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

/** Finds what shall be denied. Pure. Throws `not_found` or `ambiguous`, with what there is. */
export function findSubject(ledger: Ledger, subject: DeniedSubject): FoundSubject {
  switch (subject.kind) {
    case 'artifact':
      return findArtifact(ledger, subject.digest)
    case 'key':
      return findKey(ledger, subject)
    case 'template':
      return findTemplate(ledger, subject)
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
