import { enter, stillRunning, type Entered } from './break-glass.ts'
import { shortDigest, type Digest } from './digest.ts'
import { GrowingMap } from './growing-map.ts'
import type { EnvironmentName } from './name.ts'
import { causeOfRule, type Alarm, type Replacement } from './replacement-budget.ts'
import { basisAfter, denialOf, foldDenial, foldSealed, type Denials } from './fold-denial.ts'
import type { ChangeBody, ChangeKind, DriftCause, Fact, FactOf, Leaf } from './statement.ts'

/** One environment as the log's order leaves it. */
export type EnvironmentState = {
  environment: EnvironmentName
  /** Epoch and leaf of the last valid change; 0 and null before the first. */
  epoch: number
  tip: Leaf | null
  /** Sequence and leaf of the last valid key; 0 and null before the first. */
  sequence: number
  lastKey: Leaf | null
  /** The change that has no outcome yet. */
  open: FactOf<'change'> | null
  /** The open change's key. */
  pending: FactOf<'key'> | null
  /** The key last activated. */
  active: FactOf<'key'> | null
  /** Every key that was activated, oldest first. */
  good: readonly FactOf<'key'>[]
  /** What the last change that went well adopted: these shall run. */
  running: readonly { name: string; id: string }[]
  /** Who may enter, or entered, which of them. */
  entered: readonly Entered[]
  /** How many instances shall run. */
  instances: number
  /** What a rollback left until a person releases it. */
  hold: { change: string; reason: string; by: string; since: string } | null
  /** The last change that ended, and how. */
  closed: FactOf<'change'> | null
  outcome: FactOf<'activation'> | null
  /** What drifted since the last change, newest last. */
  drifting: readonly { instance: string; cause: DriftCause }[]
  /** Replacements since the last change of another kind that went well, newest last. */
  replacements: readonly Replacement[]
  /** Set when replacing did not help, until a person or another artifact changes something. */
  alarm: Alarm | null
}

/** What is kept of drifts and replacements: what the budget needs, and bounded. */
const keptDrifts = 200
const keptReplacements = 50

/** What the whole log says, folded. */
export type Ledger = Denials & {
  size: number
  environments: ReadonlyMap<EnvironmentName, EnvironmentState>
  rejected: GrowingMap<string, FactOf<'rejected'>>
  /** Leaves that are in the log but void: they lost a race or broke the chain. */
  void: ReadonlySet<Leaf>
}

export function emptyLedger(): Ledger {
  return {
    size: 0,
    environments: new Map(),
    sealed: new GrowingMap(),
    denied: new GrowingMap(),
    deniedKeys: new GrowingMap(),
    deniedTemplates: new GrowingMap(),
    deniedWords: [],
    basis: new GrowingMap(),
    rejected: new GrowingMap(),
    void: new Set(),
  }
}

export function emptyEnvironment(environment: EnvironmentName): EnvironmentState {
  return {
    environment,
    epoch: 0,
    tip: null,
    sequence: 0,
    lastKey: null,
    open: null,
    pending: null,
    active: null,
    good: [],
    running: [],
    entered: [],
    instances: 0,
    hold: null,
    closed: null,
    outcome: null,
    drifting: [],
    replacements: [],
    alarm: null,
  }
}

export function environmentOf(ledger: Ledger, environment: EnvironmentName): EnvironmentState {
  return ledger.environments.get(environment) ?? emptyEnvironment(environment)
}

/** A change is valid if it continues the environment's chain and nothing is open: the first in log order wins. */
function takesChange(state: EnvironmentState, body: ChangeBody): boolean {
  return state.open === null && body.epoch === state.epoch + 1 && body.tip === state.tip
}

function takesKey(state: EnvironmentState, { body }: FactOf<'key'>): boolean {
  const { open } = state
  return (
    open !== null &&
    issuesKey(open.body.changeKind) &&
    state.pending === null &&
    body.epoch === open.body.epoch &&
    body.sequence === state.sequence + 1 &&
    body.previous === state.lastKey &&
    body.digest === open.body.target.digest &&
    body.definition === open.body.target.definition
  )
}

function takesActivation(state: EnvironmentState, fact: FactOf<'activation'>): boolean {
  return (
    state.open !== null &&
    fact.body.epoch === state.open.body.epoch &&
    fact.body.change === state.open.body.change &&
    fact.body.key === (state.pending?.leaf ?? null) &&
    !(
      fact.body.outcome === 'active' &&
      issuesKey(state.open.body.changeKind) &&
      state.pending === null
    )
  )
}

/** Changes that issue the environment's next key; the others go on under the active one, or under none. */
export function issuesKey(kind: ChangeKind): boolean {
  return kind === 'promotion' || kind === 'rollback' || kind === 'return'
}

/** Changes that take an environment back hold it, so that what was taken away does not come again by itself. */
function holds(kind: ChangeKind): boolean {
  return kind === 'rollback' || kind === 'return' || kind === 'stop'
}

function afterActivation(state: EnvironmentState, fact: FactOf<'activation'>): EnvironmentState {
  const closed = { ...state, open: null, pending: null, closed: state.open, outcome: fact }
  const { open, pending } = state
  if (fact.body.outcome === 'failed' || open === null) return closed
  const { change, changeKind, instances, reason, requestedBy: by } = open.body
  const { time: since } = fact
  const after = {
    ...closed,
    ...(changeKind === 'replacement' ? {} : { replacements: [], alarm: null }),
    running: fact.body.instances,
    entered: stillRunning(state.entered, fact.body.instances),
    hold: holds(changeKind) ? { change, reason, by, since } : state.hold,
  }
  if (changeKind === 'stop') {
    // How many shall run is kept for what comes next.
    const message = `${shortDigest(open.body.target.digest)} was denied, and there is nothing to return to: ${reason}`
    return { ...after, active: null, alarm: { change, cause: 'denied', since, message } }
  }
  return {
    ...after,
    active: pending ?? state.active,
    good: pending === null ? state.good : [...state.good, pending],
    instances,
  }
}

function afterChange(state: EnvironmentState, fact: FactOf<'change'>): EnvironmentState {
  const next = { ...state, epoch: fact.body.epoch, tip: fact.leaf, open: fact, drifting: [] }
  if (fact.body.changeKind !== 'replacement') return next
  const causes = state.drifting.map(({ cause }) => cause)
  const replacements = [...state.replacements, { at: fact.time, causes }].slice(-keptReplacements)
  return { ...next, replacements }
}

function afterRelease(
  state: EnvironmentState,
  { body }: FactOf<'release'>,
): EnvironmentState | null {
  if (state.hold?.change === body.change) return { ...state, hold: null }
  if (state.alarm?.change === body.change) return { ...state, alarm: null, replacements: [] }
  return null
}

function afterDrift(state: EnvironmentState, { body }: FactOf<'drift'>): EnvironmentState {
  const { instance, cause } = body
  return { ...state, drifting: [...state.drifting, { instance, cause }].slice(-keptDrifts) }
}

/** The refusal to replace once more is the alarm; one alarm stands at a time. */
function afterRefusal(state: EnvironmentState, fact: FactOf<'refusal'>): EnvironmentState {
  const cause = causeOfRule(fact.body.rule)
  if (cause === null || state.alarm !== null) return state
  const { change, message } = fact.body
  return { ...state, alarm: { change, cause, since: fact.time, message } }
}

/** The environment after one more of its own facts; null when the fact is void. */
export function foldEnvironment(state: EnvironmentState, fact: Fact): EnvironmentState | null {
  switch (fact.kind) {
    case 'change':
      return takesChange(state, fact.body) ? afterChange(state, fact) : null
    case 'key':
      return takesKey(state, fact)
        ? { ...state, sequence: fact.body.sequence, lastKey: fact.leaf, pending: fact }
        : null
    case 'activation':
      return takesActivation(state, fact) ? afterActivation(state, fact) : null
    case 'release':
      return afterRelease(state, fact)
    case 'drift':
      return afterDrift(state, fact)
    case 'refusal':
      return afterRefusal(state, fact)
    case 'break-glass': {
      const entered = enter(state, fact)
      return entered === null ? null : { ...state, entered }
    }
    case 'roles':
    case 'provenance':
    case 'sbom':
    case 'sealed':
    case 'rejected':
    case 'denial':
      return state
  }
}

/** The ledger after one more entry, in log order. Pure: the same entries always give the same ledger. */
export function fold(ledger: Ledger, fact: Fact): Ledger {
  const next = { ...ledger, size: fact.index + 1 }
  switch (fact.kind) {
    case 'sealed':
      // The first seal of a digest stands; the same build sealed twice is the same decision.
      return fact.artifact === null || ledger.sealed.has(fact.artifact)
        ? next
        : foldSealed({ ...next, sealed: ledger.sealed.with(fact.artifact, fact) }, fact)
    case 'rejected':
      return { ...next, rejected: ledger.rejected.with(fact.body.build, fact) }
    case 'denial':
      return foldDenial(next, fact)
    case 'change':
    case 'key':
    case 'activation':
    case 'release':
    case 'break-glass': {
      const name = fact.body.environment
      const state = foldEnvironment(environmentOf(ledger, name), fact)
      if (state === null) return { ...next, void: new Set(ledger.void).add(fact.leaf) }
      const environments = new Map(ledger.environments).set(name, state)
      return { ...next, environments, basis: basisAfter(ledger.basis, state) }
    }
    case 'drift':
    case 'refusal': {
      // Nothing begins with these: an environment is known from its first change on.
      const { environment: name } = fact.body
      const known = name === null ? undefined : ledger.environments.get(name)
      const state = known === undefined ? null : foldEnvironment(known, fact)
      if (name === null || state === null || state === known) return next
      return { ...next, environments: new Map(ledger.environments).set(name, state) }
    }
    case 'provenance':
    case 'sbom':
      return { ...next, basis: ledger.basis.with(fact.leaf, fact.index) }
    case 'roles':
      return next
  }
}

export function foldAll(facts: Iterable<Fact>): Ledger {
  let ledger = emptyLedger()
  for (const fact of facts) ledger = fold(ledger, fact)
  return ledger
}

/** One pair that may start in an environment, and the key that says so. */
export type Admission = { digest: Digest; definition: Digest; sequence: number; key: Leaf }

/**
 * What may start in an environment: the key last activated, plus at most one later key without an
 * outcome, minus what is denied. Hosts start nothing else.
 */
export function admissible(ledger: Ledger, environment: EnvironmentName): readonly Admission[] {
  const state = ledger.environments.get(environment)
  if (state === undefined) return []
  return [state.active, state.pending]
    .filter((key) => key !== null)
    .filter((key) => denialOf(ledger, key) === null)
    .map((key) => ({
      digest: key.body.digest,
      definition: key.body.definition,
      sequence: key.body.sequence,
      key: key.leaf,
    }))
}
