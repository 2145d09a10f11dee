import {
  emptyLedger,
  environmentOf,
  type EnvironmentState,
  type Ledger,
} from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Fact, Leaf } from '../../src/domain/statement.ts'
import { plainReading, type PlainReading } from './plain-reading.ts'
import type { Rules } from './rules.ts'

/**
 * What the log says to one environment: its own entries and those that are about no environment, in log
 * order. The fold and everything decided by it read nothing else (test/domain/ledger.property.test.ts), so
 * that logs in which only entries of different environments change places are one log.
 */
export type Chain = {
  id: number
  facts: readonly Fact[]
  leaves: ReadonlySet<Leaf>
  ledger: Ledger
  state: EnvironmentState
  plain: PlainReading
  /** Answers that follow from the chain alone, by name. */
  remember: <T>(name: string, work: () => T) => T
}

export type Log = {
  facts: readonly Fact[]
  chains: Readonly<Record<EnvironmentName, Chain>>
  has: (leaf: Leaf) => boolean
}

export type Logs = { of: (facts: readonly Fact[]) => Log }

/** Equal chains are one object: what follows from one is worked out once. */
export function openLogs(rules: Rules, environments: readonly EnvironmentName[]): Logs {
  const known = new Map<string, Chain>()
  const first = environments.map((name) => make(-1 - environments.indexOf(name), name))
  function make(id: number, name: EnvironmentName, after?: { chain: Chain; fact: Fact }): Chain {
    const facts = after === undefined ? [] : [...after.chain.facts, after.fact]
    const ledger = after === undefined ? emptyLedger() : rules.fold(after.chain.ledger, after.fact)
    const answers = new Map<string, unknown>()
    return {
      id,
      facts,
      leaves: new Set(facts.map(({ leaf }) => leaf)),
      ledger,
      state: environmentOf(ledger, name),
      plain: plainReading(facts, name),
      remember<T>(question: string, work: () => T): T {
        if (!answers.has(question)) answers.set(question, work())
        return answers.get(question) as T
      },
    }
  }
  const next = (name: EnvironmentName, chain: Chain, fact: Fact): Chain => {
    const way = `${chain.id} ${fact.leaf}`
    const found = known.get(way)
    if (found !== undefined) return found
    const made = make(known.size, name, { chain, fact })
    known.set(way, made)
    return made
  }
  return {
    of(facts) {
      const chains = Object.fromEntries(
        environments.map((name, at) => [
          name,
          facts
            .filter((fact) => (environmentIn(fact) ?? name) === name)
            .reduce((chain, fact) => next(name, chain, fact), first[at] as Chain),
        ]),
      )
      const all = Object.values(chains)
      return { facts, chains, has: (leaf) => all.some(({ leaves }) => leaves.has(leaf)) }
    },
  }
}

function environmentIn(fact: Fact): EnvironmentName | null {
  return 'body' in fact && 'environment' in fact.body ? fact.body.environment : null
}

export function chainOf({ chains }: Log, environment: EnvironmentName): Chain {
  const chain = chains[environment]
  if (chain === undefined) throw new Error(`no environment ${environment}`)
  return chain
}

/** The whole ledger, put together of what each chain folds to. */
export function ledgerOf({ chains, facts }: Log): Ledger {
  const all = Object.values(chains)
  const [{ ledger }] = all as [Chain]
  return {
    ...ledger,
    size: facts.length,
    environments: new Map(all.flatMap((one) => [...one.ledger.environments])),
    void: new Set(all.flatMap((one) => [...one.ledger.void])),
  }
}
