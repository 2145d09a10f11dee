import { issuesKey } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Fact } from '../../src/domain/statement.ts'
import type { Promoter, Work } from './state.ts'

// Where a promoter goes on once what it said is in the log, or turned out void.

/** How often work is planned anew before it is given up. */
const mostTries = 2

export function idle(noticed: EnvironmentName | null): Promoter {
  return { at: 'idle', noticed }
}

type Read = { isVoid: boolean; fact: Fact | undefined; outcomeFirst: boolean }

export function after(
  { noticed, says, work: own }: Extract<Promoter, { at: 'log' }>,
  { isVoid, fact, outcomeFirst }: Read,
): Promoter {
  const { environment } = own.request
  switch (says) {
    case 'change':
      return isVoid ? planAgain(own, noticed) : afterChange(own, noticed)
    case 'key':
      if (isVoid || fact?.kind !== 'key') return { at: 'take-back', noticed, work: own }
      return { at: 'observe', noticed, work: { ...own, key: fact } }
    case 'active':
    case 'failed':
      if (isVoid) return idle(environment)
      // What was denied may not go on serving (workflows/change.ts, `perform`).
      if (says === 'failed' && own.change?.changeKind === 'return') return planAgain(own, noticed)
      return outcomeOf(fact) === says || !outcomeFirst ? idle(noticed) : otherwise(own, noticed)
    case 'settled':
      return isVoid ? idle(environment) : afterSettled({ noticed, work: own, fact }, outcomeFirst)
  }
}

/** workflows/change.ts, `settle`: whatever may be missing of what the log says serves is replaced. */
function afterSettled(
  {
    fact,
    noticed,
    work: own,
  }: { noticed: EnvironmentName | null; work: Work; fact: Fact | undefined },
  outcomeFirst: boolean,
): Promoter {
  if (!outcomeFirst) return planAgain(own, own.before === null ? noticed : own.request.environment)
  if (own.before !== null || outcomeOf(fact) === 'active')
    return planAgain(own, own.request.environment)
  return { at: 'settle-back', noticed, work: own }
}

function outcomeOf(fact: Fact | undefined): string {
  return fact?.kind === 'activation' ? fact.body.outcome : ''
}

/** Another outcome was first than the one this promoter came to. */
function otherwise(own: Work, noticed: EnvironmentName | null): Promoter {
  return own.before === null && own.change?.changeKind !== 'replacement'
    ? { at: 'otherwise-back', noticed, work: own }
    : idle(own.request.environment)
}

function afterChange(own: Work, noticed: EnvironmentName | null): Promoter {
  const kind = own.change?.changeKind
  if (kind === 'stop') {
    return { at: 'retire', noticed, work: { ...own, key: null, made: { keep: [], count: 0 } } }
  }
  return kind !== undefined && issuesKey(kind)
    ? { at: 'store', says: 'key', noticed, work: own }
    : { at: 'observe', noticed, work: own }
}

export function planAgain(own: Work, noticed: EnvironmentName | null): Promoter {
  const { environment } = own.request
  if (own.tries === mostTries) return idle(environment)
  return {
    at: 'plan',
    noticed,
    work: { ...own, tries: own.tries + 1, change: null, key: null, before: null, made: null },
  }
}
