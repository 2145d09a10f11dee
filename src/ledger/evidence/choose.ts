import type { Ledger } from '../../domain/ledger.ts'
import type { Fact, FactKind, FactOf } from '../../domain/statement.ts'

/** What makes an environment's chain: without one of them the fold of the rest is another one. */
const chain: ReadonlySet<FactKind> = new Set(['change', 'key', 'activation', 'release'])

/**
 * The statements that it takes to judge a key, in log order: who may sign, the chain of its
 * environment, what its artifact is made of, that the artifact served in the environments before, and
 * every denial there is.
 */
export function chooseFacts(
  facts: readonly Fact[],
  ledger: Ledger,
  key: FactOf<'key'>,
): readonly Fact[] {
  const sealed = ledger.sealed.get(key.body.digest)
  const wanted = new Set(
    sealed === undefined ? [] : [sealed.leaf, sealed.body.provenance, sealed.body.sbom],
  )
  return facts.filter(
    (fact) =>
      fact.kind === 'roles' ||
      fact.kind === 'denial' ||
      wanted.has(fact.leaf) ||
      (chain.has(fact.kind) && environmentOfFact(fact) === key.body.environment) ||
      isProof(fact, key),
  )
}

/** A key of this artifact in another environment of its app, and its outcome. */
function isProof(fact: Fact, key: FactOf<'key'>): boolean {
  const app = key.body.environment.split('/', 1)[0]
  return (
    (fact.kind === 'key' || fact.kind === 'activation') &&
    fact.artifact === key.body.digest &&
    environmentOfFact(fact)?.split('/', 1)[0] === app
  )
}

function environmentOfFact(fact: Fact): string | null {
  return 'body' in fact && 'environment' in fact.body ? fact.body.environment : null
}
