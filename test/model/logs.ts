import { emptyLedger, type Ledger } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Fact, Leaf } from '../../src/domain/statement.ts'
import { plainReading, type PlainReading } from './plain-reading.ts'
import type { Rules } from './rules.ts'

/** One log as all states share it: what follows from it is worked out once. */
export type Log = {
  id: number
  facts: readonly Fact[]
  leaves: ReadonlySet<Leaf>
  ledger: Ledger
  plain: (environment: EnvironmentName) => PlainReading
  /** Answers that follow from the log alone, by name. */
  remember: <T>(name: string, work: () => T) => T
}

export type Logs = { of: (facts: readonly Fact[]) => Log }

/** The same facts always give the same log. */
export function openLogs(rules: Rules): Logs {
  const known = new Map<string, Log>()
  const empty = make(-1, [], emptyLedger())
  const next = (log: Log, fact: Fact): Log => {
    const name = `${log.id} ${fact.leaf}`
    const found = known.get(name)
    if (found !== undefined) return found
    const made = make(known.size, [...log.facts, fact], rules.fold(log.ledger, fact))
    known.set(name, made)
    return made
  }
  return { of: (facts) => facts.reduce(next, empty) }
}

function make(id: number, facts: readonly Fact[], ledger: Ledger): Log {
  const answers = new Map<string, unknown>()
  const remember = <T>(name: string, work: () => T): T => {
    if (!answers.has(name)) answers.set(name, work())
    return answers.get(name) as T
  }
  return {
    id,
    facts,
    ledger,
    leaves: new Set(facts.map(({ leaf }) => leaf)),
    plain: (environment) =>
      remember(`plain ${environment}`, () => plainReading(facts, environment)),
    remember,
  }
}
