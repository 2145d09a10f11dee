import {
  admissible,
  emptyLedger,
  fold,
  foldEnvironment,
  environmentOf,
  type Ledger,
} from '../../src/domain/ledger.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { Fact, Leaf } from '../../src/domain/statement.ts'
import { decide } from '../../src/promote/activities.ts'
import { findDrift } from '../../src/runtime/drift.ts'
import { takeEpoch, takeKey, type HostRecord } from '../../src/runtime/host-record.ts'

/** What Kiln decides by. The model explores with the real functions, and with one replaced to see it found. */
export type Rules = {
  fold: typeof fold
  admissible: typeof admissible
  decide: typeof decide
  takeEpoch: typeof takeEpoch
  takeKey: typeof takeKey
  findDrift: typeof findDrift
  /** The head moves only from what was seen: `null` is a lost swap (the stores' contract, test/store/contract.ts). */
  swapHead: (log: readonly Fact[], seen: number, fact: Fact) => readonly Fact[] | null
  /** Whether a decision that is stored stands (src/ledger/ledger-writer.ts, `firstDecision`). */
  firstStands: boolean
  /** Whether an outcome is on record before its instances are ended (workflows/change.ts, `settle`). */
  outcomeFirst: boolean
}

export const realRules: Rules = {
  fold,
  admissible,
  decide,
  takeEpoch,
  takeKey,
  findDrift,
  swapHead: (log, seen, fact) => (seen === log.length ? [...log, fact] : null),
  firstStands: true,
  outcomeFirst: true,
}

/** The ledger with one environment as if `fact` had been valid. */
function believing(ledger: Ledger, fact: Fact, believe: (leaf: Leaf) => Ledger | null): Ledger {
  const next = fold(ledger, fact)
  return next.void.has(fact.leaf) ? (believe(fact.leaf) ?? next) : next
}

/** Faults, each in place of one real function. Every one must be found. */
export const seeded: Readonly<Record<string, { what: string; rules: Rules }>> = {
  'epoch-not-compared': {
    what: 'a host obeys an epoch that is over',
    rules: {
      ...realRules,
      takeEpoch: (record: HostRecord, epoch: number) =>
        epoch === record.epoch ? record : { ...record, epoch, key: null },
    },
  },
  'denial-not-subtracted': {
    what: 'what is denied stays admissible',
    rules: {
      ...realRules,
      admissible: (ledger, environment) =>
        admissible({ ...ledger, denied: emptyLedger().denied }, environment),
    },
  },
  'void-key-believed': {
    what: 'a key counts though its change is closed',
    rules: {
      ...realRules,
      fold: (ledger, fact) =>
        believing(ledger, fact, () => {
          if (fact.kind !== 'key') return null
          const state = environmentOf(ledger, fact.body.environment)
          const environments = new Map(ledger.environments)
          environments.set(state.environment, { ...state, pending: fact, lastKey: fact.leaf })
          return { ...ledger, size: fact.index + 1, environments }
        }),
    },
  },
  'second-change-opens': {
    what: 'a change opens though another one is open: the last in log order wins',
    rules: {
      ...realRules,
      fold: (ledger, fact) =>
        believing(ledger, fact, () => {
          if (fact.kind !== 'change') return null
          const state = environmentOf(ledger, fact.body.environment)
          const environments = new Map(ledger.environments)
          environments.set(state.environment, {
            ...state,
            epoch: fact.body.epoch,
            tip: fact.leaf,
            open: fact,
          })
          return { ...ledger, size: fact.index + 1, environments }
        }),
    },
  },
  'failure-forgotten': {
    what: 'a failed change activates its key',
    rules: {
      ...realRules,
      fold: (ledger, fact) => {
        const next = fold(ledger, fact)
        if (fact.kind !== 'activation' || fact.body.outcome !== 'failed') return next
        const name = fact.body.environment
        const state = foldEnvironment(environmentOf(ledger, name), {
          ...fact,
          body: { ...fact.body, outcome: 'active' },
        })
        if (state === null) return next
        return { ...next, environments: new Map(next.environments).set(name, state) }
      },
    },
  },
  'head-not-compared': {
    what: 'a writer puts its head over that of another',
    rules: {
      ...realRules,
      swapHead: (log, seen, fact) => [...log.slice(0, seen), { ...fact, index: seen }],
    },
  },
  'decision-made-again': {
    what: 'a repeated decision is signed anew instead of taken from the store',
    rules: { ...realRules, firstStands: false },
  },
  'ended-before-the-outcome': {
    what: 'a lost change is taken back before it is known how it ended',
    rules: { ...realRules, outcomeFirst: false },
  },
  'denied-left-serving': {
    what: 'a denial is on record, and nothing follows it where it serves',
    rules: {
      ...realRules,
      decide: (ledger, request, tools) => {
        const { active, open } = environmentOf(ledger, request.environment)
        return open === null && active !== null && ledger.denied.has(active.body.digest)
          ? { kind: 'nothing-to-do', serving: null }
          : decide(ledger, request, tools)
      },
    },
  },
  'key-of-nothing': {
    what: 'a host starts what is asked without asking what is admissible',
    rules: {
      ...realRules,
      admissible: (ledger, environment) => {
        const state = environmentOf(ledger, environment)
        const keys = [state.active, state.pending, ...state.good].filter((key) => key !== null)
        return keys.map(({ leaf, body }) => ({
          digest: body.digest,
          definition: body.definition,
          sequence: body.sequence,
          key: leaf,
        }))
      },
    },
  },
}

export function isFenced(error: unknown): boolean {
  return error instanceof KilnError && error.code === 'fenced'
}

/** Whether a host that remembers this refuses the epoch, now and for good. */
export function isFencedAt({ takeEpoch: take }: Rules, record: HostRecord, epoch: number): boolean {
  try {
    take(record, epoch)
    return false
  } catch (error) {
    if (isFenced(error)) return true
    throw error
  }
}
