import type { Digest } from './digest.ts'
import type { GrowingMap } from './growing-map.ts'
import type { FactOf, Leaf } from './statement.ts'

/** The ledger's part that says what may never start again. */
export type Denials = {
  sealed: GrowingMap<Digest, FactOf<'sealed'>>
  /** Artifacts that were denied, by themselves or with the template that they were built from. */
  denied: GrowingMap<Digest, FactOf<'denial'>>
  deniedKeys: GrowingMap<Leaf, FactOf<'denial'>>
  /** By their locks. */
  deniedTemplates: GrowingMap<Digest, FactOf<'denial'>>
}

/** The locks that an artifact was built from: its template's, and that of the template which this stands on. */
export function locksOf({ body: { template } }: FactOf<'sealed'>): readonly Digest[] {
  return template.base === undefined ? [template.lock] : [template.lock, template.base.lock]
}

/** The first denial of a subject stands. One of a template denies all that was built from it. */
export function foldDenial<L extends Denials>(ledger: L, fact: FactOf<'denial'>): L {
  const { artifact, body } = fact
  const { of } = body
  switch (of?.kind) {
    case undefined:
      return artifact === null ? ledger : withDenied(ledger, artifact, fact)
    case 'key':
      return ledger.deniedKeys.has(of.key)
        ? ledger
        : { ...ledger, deniedKeys: ledger.deniedKeys.with(of.key, fact) }
    case 'template': {
      if (ledger.deniedTemplates.has(of.lock)) return ledger
      const next = { ...ledger, deniedTemplates: ledger.deniedTemplates.with(of.lock, fact) }
      return [...ledger.sealed.values()]
        .filter((sealed) => locksOf(sealed).includes(of.lock))
        .reduce((denied, sealed) => withDenied(denied, sealed.artifact, fact), next)
    }
  }
}

/** What is built from a denied template later is denied from its beginning. */
export function foldSealed<L extends Denials>(ledger: L, fact: FactOf<'sealed'>): L {
  const [denial] = locksOf(fact).flatMap((lock) => ledger.deniedTemplates.get(lock) ?? [])
  return denial === undefined ? ledger : withDenied(ledger, fact.artifact, denial)
}

function withDenied<L extends Denials>(
  ledger: L,
  artifact: Digest | null,
  fact: FactOf<'denial'>,
): L {
  if (artifact === null || ledger.denied.has(artifact)) return ledger
  return { ...ledger, denied: ledger.denied.with(artifact, fact) }
}

/** The denial of a key, or of the artifact that it names; null when there is none. */
export function denialOf(
  ledger: Pick<Denials, 'denied' | 'deniedKeys'>,
  key: FactOf<'key'>,
): FactOf<'denial'> | null {
  return ledger.denied.get(key.body.digest) ?? ledger.deniedKeys.get(key.leaf) ?? null
}
