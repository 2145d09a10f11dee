import type { SigningKeyRange } from '../domain/denial.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import { predicateTypeOf } from '../domain/role.ts'
import type { FactOf, Leaf } from '../domain/statement.ts'
import type { Signable } from '../../signing/statement.ts'
import type { Decided } from './ledger-writer.ts'

/** A logged statement's bundle, as the registry publishes it. */
export type PublishedBundle = { key: string; predicateType: string; created: string }

export type RecordDependencies = {
  /** Signs, stores, logs and reads back one decision; the first under an id stands. Throws `lost_race` when the log's order made it void. */
  decide: (decision: { id: string; signable: Signable }) => Promise<Decided>
  ledger: () => Promise<Ledger>
  /** The full bundle of a logged statement, stored once: its bytes and their key. */
  publishedBundle: (leaf: Leaf) => Promise<{ key: string; bytes: Uint8Array }>
  /** Reads a signed statement back from the store and checks all of it; throws `verification_failed`. */
  verify: (
    leaf: Leaf,
    expected: { kind: 'provenance' | 'sbom' | 'key'; artifact: Digest },
  ) => Promise<void>
  blob: (digest: Digest) => Promise<Uint8Array>
  signingKeys: {
    /** All that the log names, in its order. */
    list: () => Promise<readonly SigningKeyRange[]>
    /** Gives the role a new key, unless this one was followed before. Throws `signer_unavailable`. */
    follow: (key: SigningKeyRange) => Promise<void>
  }
  origin: string
  version: string
  policy: { name: string; digest: Digest }
  now: () => Date
}

export async function bundleOf(
  { publishedBundle, origin }: RecordDependencies,
  { leaf, fact }: Decided,
): Promise<PublishedBundle> {
  const { key } = await publishedBundle(leaf)
  return { key, predicateType: predicateTypeOf(fact.kind, origin), created: fact.time }
}

export function timeOf({ now }: RecordDependencies): string {
  return now().toISOString()
}

export function expectKind<K extends 'change' | 'key' | 'activation' | 'denial' | 'break-glass'>(
  fact: Decided['fact'],
  kind: K,
): FactOf<K> {
  if (fact.kind !== kind) {
    throw new KilnError('ledger_corrupt', `the decision on record is a ${fact.kind}, not a ${kind}`)
  }
  return fact as FactOf<K>
}
