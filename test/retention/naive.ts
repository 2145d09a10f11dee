import type { Fact } from '../../src/domain/statement.ts'
import { hash } from '../helpers/facts.ts'

/**
 * What a collection must leave, worked out the slow way from the log's facts and the bytes in the store,
 * without a line of what is judged by it.
 */
export function needed(
  { facts, objects }: { facts: readonly Fact[]; objects: ReadonlyMap<string, Uint8Array> },
  rules: { good: number; sealedSince: string; locks: readonly string[] },
): Set<string> {
  const keys = new Set<string>()
  const artifacts = new Set([
    ...environmentsOf(facts).flatMap((name) => ofEnvironment(facts, name, rules.good)),
    ...facts.flatMap((fact) =>
      fact.kind === 'sealed' && fact.time >= rules.sealedSince ? [hexOf(fact.artifact)] : [],
    ),
  ])
  const json = (hex: string): unknown => {
    const bytes = objects.get(`blobs/sha256/${hex}`)
    return bytes === undefined ? undefined : JSON.parse(Buffer.from(bytes).toString())
  }
  const keepManifest = (hex: string): void => {
    keys.add(`blobs/sha256/${hex}`)
    const { config, layers = [] } = (json(hex) ?? {}) as {
      config?: { digest: string }
      layers?: { digest: string }[]
    }
    for (const one of [config, ...layers]) keys.add(`blobs/sha256/${hexOf(one?.digest ?? '')}`)
    for (const key of objects.keys()) {
      if (key.startsWith('repositories/') && key.endsWith(hex)) keys.add(key)
    }
  }
  for (const hex of artifacts) {
    keepManifest(hex)
    for (const key of objects.keys()) {
      if (!key.startsWith(`referrers/${hex}/`)) continue
      keys.add(key)
      keepManifest(key.split('/')[2] ?? '')
    }
  }
  for (const fact of facts) {
    if (fact.kind !== 'sealed') continue
    const { files, pipeline, specification } = fact.body
    for (const digest of [specification, ...pipeline.map((step) => step.definition)]) {
      keys.add(`blobs/sha256/${hexOf(digest)}`)
    }
    if (artifacts.has(hexOf(fact.artifact))) keys.add(`blobs/sha256/${hexOf(files)}`)
  }
  for (const lock of locksOf(facts, artifacts, rules.locks)) {
    for (const name of [`base ${lock}`, `config of base ${lock}`, `layer of base ${lock}`]) {
      keys.add(`blobs/sha256/${hash(name)}`)
    }
    for (const at of [1, 2]) keys.add(`blobs/sha256/${hash(`package ${at} of ${lock}`)}`)
  }
  return new Set([...keys].filter((key) => objects.has(key)))
}

function hexOf(digest: string | null): string {
  return (digest ?? '').replace('sha256:', '')
}

function environmentsOf(facts: readonly Fact[]): string[] {
  return [
    ...new Set(facts.flatMap((fact) => (fact.kind === 'change' ? [fact.body.environment] : []))),
  ]
}

/** Active, its target, whatever an open change names, and the last good ones that were not denied. */
function ofEnvironment(facts: readonly Fact[], environment: string, count: number): string[] {
  const own = facts.filter((fact) => 'body' in fact && 'environment' in fact.body)
  const here = own.filter(
    (fact) => 'body' in fact && 'environment' in fact.body && fact.body.environment === environment,
  )
  const denied = new Set(
    facts.flatMap((fact) => (fact.kind === 'denial' ? [hexOf(fact.artifact)] : [])),
  )
  let open: Fact[] = []
  let active: string[] = []
  const good: string[] = []
  for (const fact of here) {
    if (fact.kind === 'change') open = [fact]
    if (fact.kind === 'key') open.push(fact)
    if (fact.kind !== 'activation') continue
    const key = open.find((one) => one.kind === 'key')
    open = []
    if (fact.body.outcome === 'failed' || key?.kind !== 'key') continue
    active = [hexOf(key.body.digest), hexOf(key.body.rollbackTo?.digest ?? null)]
    good.push(hexOf(key.body.digest))
  }
  const last = [...new Set(good.filter((hex) => !denied.has(hex)).toReversed())].slice(0, count)
  const named = open.flatMap((fact) => {
    if (fact.kind === 'change') return [fact.body.target.digest, fact.body.rollbackTo?.digest]
    return fact.kind === 'key' ? [fact.body.digest, fact.body.rollbackTo?.digest] : []
  })
  return [...active, ...last, ...named.map((digest) => hexOf(digest ?? null))].filter(
    (hex) => hex !== '',
  )
}

/** Names of the locks that stay: of kept artifacts, of the newest one sealed, and those in the folder. */
function locksOf(
  facts: readonly Fact[],
  artifacts: ReadonlySet<string>,
  folder: readonly string[],
): string[] {
  const names = ['lock 1', 'lock 2', 'lock 3']
  const sealed = facts.filter((fact) => fact.kind === 'sealed')
  const kept = sealed.filter((fact) => artifacts.has(hexOf(fact.artifact)))
  const used = [...kept, ...sealed.slice(-1)].map((fact) => hexOf(fact.body.template.lock))
  return names.filter((name) => folder.includes(name) || used.includes(hash(name)))
}
