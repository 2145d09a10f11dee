import { envelopeOf, parseLoggedBundle, parseSignedBundle } from '../../signing/bundle.ts'
import { leafName, leafOfEnvelope, parseLeaf } from '../../signing/leaf.ts'
import { verifyPrehashed } from '../../signing/prehashed.ts'
import { derOf } from '../../signing/trust.ts'
import { verifyBundle, verifySignature } from '../../signing/verify.ts'
import { roleOf } from '../domain/role.ts'
import type { Fact, Leaf } from '../domain/statement.ts'
import type { RoleHistory } from '../../signing/role-history.ts'
import { leafBundleKey, readEntry } from './entry.ts'
import { messageOf, type FsckDeps } from './fsck-report.ts'
import { openLogRoles } from './log-roles.ts'
import { tileWidth } from './tiles.ts'

/** Checks the bundle of every leaf and every bundle there is; gives the facts that stand, and how many entries are others'. */
export async function checkBundles(
  given: FsckDeps,
  entries: readonly (Uint8Array | null)[],
): Promise<{ facts: readonly Fact[]; foreign: number }> {
  const facts: Fact[] = []
  let foreign = 0
  const history = await readRoles(given, entries)
  const deps = { ...given, history, trust: history.trust }
  for (let from = 0; from < entries.length; from += tileWidth) {
    const some = entries.slice(from, from + tileWidth)
    const read = await Promise.all(some.map((bytes, n) => checkEntry(deps, from + n, bytes)))
    facts.push(...read.filter((fact) => fact !== null && fact !== 'foreign'))
    foreign += read.filter((fact) => fact === 'foreign').length
  }
  checkTwice(deps, entries)
  const logged = new Map(facts.map((fact) => [fact.leaf, fact]))
  for await (const key of deps.store.list('bundles/decision/')) await checkDecision(deps, key)
  for await (const key of deps.store.list('bundles/published/')) {
    await checkPublished(deps, key, logged)
  }
  return { facts, foreign }
}

type Deps = FsckDeps & { history: RoleHistory }

/** The keys and their ranges as the log says them; a list that cannot be read is reported with its entry. */
async function readRoles(
  deps: FsckDeps,
  entries: readonly (Uint8Array | null)[],
): Promise<RoleHistory> {
  const roles = openLogRoles(deps)
  for (const [index, bytes] of entries.entries()) {
    if (bytes === null) continue
    try {
      await roles.take([{ index, bytes }])
    } catch (error) {
      messageOf(error)
    }
  }
  try {
    roles.demandRoot()
  } catch (error) {
    deps.report('root', messageOf(error))
  }
  return roles.history()
}

async function checkEntry(
  deps: Deps,
  index: number,
  bytes: Uint8Array | null,
): Promise<Fact | 'foreign' | null> {
  // What could not be read is on record already.
  if (bytes === null) return null
  const place = leafBundleKey(leafName(bytes))
  try {
    const found = await readEntry(deps, { index, bytes })
    if (found.kind === 'fact') return found.fact
    if (found.kind === 'foreign') return checkForeign(deps, index, bytes)
    if (found.kind === 'ignored')
      deps.report(place, `entry ${index} counts for nothing: ${found.reason}`)
  } catch (error) {
    deps.report(place, messageOf(error))
  }
  return null
}

/** What others logged has no bundle here; its entry alone says whether its key signed it. */
function checkForeign({ report }: FsckDeps, index: number, bytes: Uint8Array): 'foreign' {
  const place = `tile/entries, entry ${index}`
  try {
    if (!verifyPrehashed(parseLeaf(bytes))) {
      report(place, `entry ${index} is by no key of Kiln, and its own did not sign it`)
    }
  } catch {
    report(place, `entry ${index} is not a canonical hashedrekord 0.0.2`)
  }
  return 'foreign'
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
