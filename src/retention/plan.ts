import type { Digest } from '../domain/digest.ts'
import { leases, type Lease } from '../domain/lease.ts'
import type { Ledger } from '../domain/ledger.ts'
import { blobKey, type AgedObject } from '../store/blob-store.ts'
import { collectedPrefixes, digestAtEnd, markedBy, type Inventory } from './inventory.ts'
import { edgesOf, reachFrom, type Edges } from './reach.ts'

export type RetentionRules = {
  /** Of each environment, how many of its last good artifacts it may return to. */
  good: number
  /** Whatever was sealed, written or used since stays; ms since 1970. Not after the beginning of any build that runs. */
  since: number
  /** What the locks in the templates' folder name, and policies: what stays for its own sake. */
  always: readonly Digest[]
}

export type CollectedArtifact = { digest: Digest; app: string; sealedAt: string; bytes: number }
export type KeptArtifact = Lease & { digest: Digest; app: string }

/** What a collection would remove, in its order, and what it keeps. */
export type CollectionPlan = {
  artifacts: readonly CollectedArtifact[]
  objects: readonly AgedObject[]
  kept: { artifacts: readonly KeptArtifact[]; objects: number; bytes: number }
  /** Kept artifacts that are not whole: what they stand on is not known, so nothing may be removed. */
  faults: readonly { digest: Digest; message: string }[]
}

/**
 * What is kept, decided from the ledger and what lies in the store. Pure. An object is kept when it is
 * reached from a root, or was touched since. Roots are leased artifacts, manifests that were touched since,
 * what the newest lock of each template names, and what must stay for logged statements to be judged.
 */
export function planCollection(
  ledger: Ledger,
  inventory: Inventory,
  rules: RetentionRules,
): CollectionPlan {
  const leased = leases(ledger, rules)
  const young = ({ touchedAt }: AgedObject): boolean => !(touchedAt < rules.since)
  const edges = edgesOf(ledger, inventory)
  const reached = reachFrom(edges, [
    ...leased.keys(),
    ...rules.always,
    ...judged(ledger),
    ...newestTemplates(ledger),
    ...touchedManifests(inventory, young),
  ])
  const goes = (one: AgedObject): boolean => !young(one) && !isReached(one.key, reached)
  const all = [...inventory.objects.values()]
  const going = all.filter(goes)
  const staying = all.filter((one) => !goes(one))
  return {
    artifacts: collectedArtifacts(ledger, edges, going),
    objects: inOrder(going),
    kept: {
      artifacts: keptArtifacts(ledger, leased),
      objects: staying.length,
      bytes: staying.reduce((sum, { size }) => sum + size, 0),
    },
    faults: faultsOf(inventory, leased),
  }
}

/** Caches are reached by nothing: they stay while they are used. */
function isReached(key: string, reached: ReadonlySet<Digest>): boolean {
  const digest = digestAtEnd(key)
  return digest !== null && !key.startsWith('cache/') && reached.has(digest)
}

function inOrder(objects: readonly AgedObject[]): readonly AgedObject[] {
  return collectedPrefixes.flatMap((prefix) => objects.filter(({ key }) => key.startsWith(prefix)))
}

/** Small, and named by statements that stay in the log: what keys are judged by. */
function judged(ledger: Ledger): Digest[] {
  return [...ledger.sealed.values()].flatMap(({ body: { specification, pipeline } }) => [
    specification,
    ...pipeline.map((step) => step.definition),
  ])
}

/** The last lock of each template that anything was built from. */
function newestTemplates(ledger: Ledger): Iterable<Digest> {
  const newest = new Map<string, Digest>()
  for (const { body } of ledger.sealed.values()) {
    const { base, ...own } = body.template
    for (const one of base === undefined ? [own] : [own, base]) newest.set(one.name, one.lock)
  }
  return newest.values()
}

/** Whoever writes or uses a manifest uses all of it. */
function touchedManifests(
  { objects }: Inventory,
  young: (one: AgedObject) => boolean,
): readonly Digest[] {
  const touched = [...objects.values()].filter(young).map(({ key }) => key)
  return touched.map((key) => (key.startsWith('cache/') ? null : digestAtEnd(key))).filter(isSome)
}

function isSome<T>(value: T | null): value is T {
  return value !== null
}

/** Artifacts that go now, and what is freed with each: what several share is counted with the first. */
function collectedArtifacts(
  ledger: Ledger,
  edges: Edges,
  going: readonly AgedObject[],
): CollectedArtifact[] {
  const sizes = new Map(going.map(({ key, size }) => [key, size]))
  const artifacts = new Set(going.map(({ key }) => markedBy(key)).filter(isSome))
  return [...ledger.sealed.values()].flatMap(({ artifact, body, time }) => {
    if (artifact === null || !artifacts.has(artifact)) return []
    let bytes = 0
    for (const digest of reachFrom(edges, [artifact])) {
      const key = blobKey(digest)
      bytes += sizes.get(key) ?? 0
      sizes.delete(key)
    }
    return [{ digest: artifact, app: body.app, sealedAt: time, bytes }]
  })
}

function keptArtifacts(ledger: Ledger, leased: ReadonlyMap<Digest, Lease>): KeptArtifact[] {
  return [...leased].map(([digest, lease]) => ({
    digest,
    app: ledger.sealed.get(digest)?.body.app ?? '',
    ...lease,
  }))
}

function faultsOf(
  { manifests, objects, collected }: Inventory,
  leased: ReadonlyMap<Digest, Lease>,
): CollectionPlan['faults'] {
  const published = new Set([...objects.keys()].map(markedBy).filter(isSome))
  return [...leased.keys()].flatMap((digest) => {
    if (published.has(digest) && manifests.has(digest)) return []
    // It was collected when fewer were kept.
    if (!published.has(digest) && collected.has(digest)) return []
    const what = published.has(digest) ? 'its manifest is missing' : 'no repository has it'
    return [{ digest, message: `${digest} is kept, and ${what}` }]
  })
}
