import type { Digest } from './digest.ts'
import type { GrowingMap } from './growing-map.ts'
import type { DeniableRole, FactOf, Leaf } from './statement.ts'

/** The ledger's part that says what may never start again. */
export type Denials = {
  sealed: GrowingMap<Digest, FactOf<'sealed'>>
  /** Artifacts that were denied, by themselves or with the template that they were built from. */
  denied: GrowingMap<Digest, FactOf<'denial'>>
  deniedKeys: GrowingMap<Leaf, FactOf<'denial'>>
  /** By their locks. */
  deniedTemplates: GrowingMap<Digest, FactOf<'denial'>>
  deniedWords: readonly DeniedWords[]
  /** Log index of each provenance and SBOM by its leaf, and of the change that a key was issued under by the key's. */
  basis: GrowingMap<Leaf, number>
}

/** What one signing key said at log indexes in `[from, to)`. */
type DeniedWords = { role: DeniableRole; from: number; to: number; denial: FactOf<'denial'> }

/** What something rests on: a statement of this role. Undefined: nobody knows where it stands. */
type Word = { role: DeniableRole; index: number | undefined }

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
    case 'signing-key': {
      // The key's range is over when it is denied: nothing later is its word.
      const words = { role: of.role, from: of.from, to: Math.min(of.to, fact.index), denial: fact }
      const next = { ...ledger, deniedWords: [...ledger.deniedWords, words] }
      return [...ledger.sealed.values()]
        .filter((sealed) => restsOn(words, wordsBehindArtifact(next, sealed)))
        .reduce((denied, sealed) => withDenied(denied, sealed.artifact, fact), next)
    }
  }
}

/** What is built from a denied template, or sealed on denied words, later is denied from its beginning. */
export function foldSealed<L extends Denials>(ledger: L, fact: FactOf<'sealed'>): L {
  const [template] = locksOf(fact).flatMap((lock) => ledger.deniedTemplates.get(lock) ?? [])
  const denial = template ?? denialOfWords(ledger, wordsBehindArtifact(ledger, fact))
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

/** A key rests on the change that it was issued under. */
export function basisAfter(
  basis: Denials['basis'],
  { open, pending }: { open: FactOf<'change'> | null; pending: FactOf<'key'> | null },
): Denials['basis'] {
  if (open === null || pending === null || basis.has(pending.leaf)) return basis
  return basis.with(pending.leaf, open.index)
}

type Words = Pick<Denials, 'deniedWords' | 'basis'>

function wordsBehindArtifact(
  { basis }: Pick<Denials, 'basis'>,
  { index, body }: FactOf<'sealed'>,
): readonly Word[] {
  return [
    { role: 'record', index },
    { role: 'build', index: basis.get(body.provenance) },
    { role: 'build', index: basis.get(body.sbom) },
  ]
}

function restsOn({ role, from, to }: DeniedWords, words: readonly Word[]): boolean {
  return words.some(
    (word) =>
      word.role === role && (word.index === undefined || (from <= word.index && word.index < to)),
  )
}

function denialOfWords(
  { deniedWords }: Pick<Denials, 'deniedWords'>,
  words: readonly Word[],
): FactOf<'denial'> | undefined {
  return deniedWords.find((one) => restsOn(one, words))?.denial
}

/** The denial of what a key rests on: its own signature, and the change that it was issued under. */
export function denialOfSigner(ledger: Words, key: FactOf<'key'>): FactOf<'denial'> | null {
  const change = { role: 'record', index: ledger.basis.get(key.leaf) } as const
  return denialOfWords(ledger, [{ role: 'promote', index: key.index }, change]) ?? null
}

/** The denial of a key, of the artifact that it names, or of who signed it; null when there is none. */
export function denialOf(
  ledger: Words & Pick<Denials, 'denied' | 'deniedKeys'>,
  key: FactOf<'key'>,
): FactOf<'denial'> | null {
  return (
    ledger.denied.get(key.body.digest) ??
    ledger.deniedKeys.get(key.leaf) ??
    denialOfSigner(ledger, key)
  )
}
