import { digestOfHex, type Digest } from '../domain/digest.ts'
import type { Ledger } from '../domain/ledger.ts'
import type { Inventory } from './inventory.ts'

/** What one digest cannot be without: content, what refers to it, what it was made of. */
export type Edges = (digest: Digest) => Iterable<Digest>

export function edgesOf(ledger: Ledger, inventory: Inventory): Edges {
  const { inputs, manifests, templates } = inventory
  const referrers = referrersIn(inventory)
  return function* edges(digest) {
    yield* manifests.get(digest) ?? []
    yield* referrers.get(digest) ?? []
    yield* templates.get(digest) ?? []
    yield* inputs.get(digest) ?? []
    const sealed = ledger.sealed.get(digest)?.body
    if (sealed === undefined) return
    yield sealed.files
    yield sealed.template.lock
    if (sealed.template.base !== undefined) yield sealed.template.base.lock
  }
}

/** Everything that is needed with some digests, themselves included. */
export function reachFrom(edges: Edges, roots: Iterable<Digest>): ReadonlySet<Digest> {
  const reached = new Set<Digest>(roots)
  // A set that grows while it is walked is walked to its end.
  for (const digest of reached) for (const next of edges(digest)) reached.add(next)
  return reached
}

const referrerForm = /^referrers\/([0-9a-f]{64})\/([0-9a-f]{64})$/

function referrersIn({ objects }: Inventory): ReadonlyMap<Digest, readonly Digest[]> {
  const referrers = new Map<Digest, Digest[]>()
  for (const key of objects.keys()) {
    const [, subject, referrer] = referrerForm.exec(key) ?? []
    if (subject === undefined || referrer === undefined) continue
    const known = referrers.get(digestOfHex(subject)) ?? []
    known.push(digestOfHex(referrer))
    referrers.set(digestOfHex(subject), known)
  }
  return referrers
}
