import { envelopeOf, parseLoggedBundle, parseSignedBundle } from '../../signing/bundle.ts'
import { leafName, leafOfEnvelope } from '../../signing/leaf.ts'
import { derOf } from '../../signing/trust.ts'
import { verifyBundle, verifySignature } from '../../signing/verify.ts'
import { roleOf } from '../domain/role.ts'
import type { Fact, Leaf } from '../domain/statement.ts'
import { leafBundleKey, readEntry } from './entry.ts'
import { messageOf, type FsckDeps } from './fsck-report.ts'
import { tileWidth } from './tiles.ts'

/** Checks the bundle of every leaf and every bundle there is; gives the facts that stand. */
export async function checkBundles(
  deps: FsckDeps,
  entries: readonly (Uint8Array | null)[],
): Promise<readonly Fact[]> {
  const facts: Fact[] = []
  for (let from = 0; from < entries.length; from += tileWidth) {
    const some = entries.slice(from, from + tileWidth)
    const read = await Promise.all(some.map((bytes, n) => checkEntry(deps, from + n, bytes)))
    facts.push(...read.filter((fact) => fact !== null))
  }
  checkTwice(deps, entries)
  const logged = new Map(facts.map((fact) => [fact.leaf, fact]))
  for await (const key of deps.store.list('bundles/decision/')) await checkDecision(deps, key)
  for await (const key of deps.store.list('bundles/published/')) {
    await checkPublished(deps, key, logged)
  }
  return facts
}

async function checkEntry(
  deps: FsckDeps,
  index: number,
  bytes: Uint8Array | null,
): Promise<Fact | null> {
  // What could not be read is on record already.
  if (bytes === null) return null
  const place = leafBundleKey(leafName(bytes))
  try {
    const found = await readEntry(deps, { index, bytes })
    if (found.kind === 'fact') return found.fact
    if (found.kind === 'ignored')
      deps.report(place, `entry ${index} counts for nothing: ${found.reason}`)
  } catch (error) {
    deps.report(place, messageOf(error))
  }
  return null
}

/** A decision is in the log once. */
function checkTwice({ report }: FsckDeps, entries: readonly (Uint8Array | null)[]): void {
  const seen = new Map<Leaf, number>()
  for (const [index, bytes] of entries.entries()) {
    if (bytes === null) continue
    const leaf = leafName(bytes)
    const before = seen.get(leaf)
    if (before !== undefined) {
      report(leafBundleKey(leaf), `entry ${index} is entry ${before} again`)
    }
    seen.set(leaf, index)
  }
}

/** The decision may not be in the log yet; its bundle must be whole, and the one under its leaf. */
async function checkDecision({ store, trust, report }: FsckDeps, key: string): Promise<void> {
  try {
    const bytes = (await store.get(key)) ?? Buffer.alloc(0)
    const bundle = parseSignedBundle(bytes)
    const { publicKey } = verifySignature(bundle, trust)
    const leaf = leafName(leafOfEnvelope(envelopeOf(bundle), derOf(publicKey)))
    const own = await store.get(leafBundleKey(leaf))
    if (own !== undefined && Buffer.compare(own, bytes) !== 0) {
      report(key, `not the bundle that lies under its leaf ${leaf}`)
    }
  } catch (error) {
    report(key, messageOf(error))
  }
}

async function checkPublished(
  { store, trust, report }: FsckDeps,
  key: string,
  logged: ReadonlyMap<Leaf, Fact>,
): Promise<void> {
  const fact = logged.get(key.slice('bundles/published/'.length))
  try {
    const bytes = (await store.get(key)) ?? Buffer.alloc(0)
    const role = fact === undefined ? undefined : roleOf[fact.kind]
    if (role === undefined) return report(key, 'of no statement in the log')
    const verified = verifyBundle(parseLoggedBundle(bytes), trust, { role })
    if (verified.leaf !== fact?.leaf || verified.index !== fact.index) {
      report(key, `it is about entry ${verified.index}`)
    }
  } catch (error) {
    report(key, messageOf(error))
  }
}
