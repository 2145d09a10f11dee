import { environmentOf } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Wish } from '../../src/domain/request.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { digestFor } from '../helpers/facts.ts'
import { act, begin } from './effects.ts'
import type { Logs } from './logs.ts'
import { replacement, wishes, work } from './requests.ts'
import type { Rules } from './rules.ts'
import { idOf, said, signed } from './sayings.ts'
import {
  artifacts,
  dev,
  prod,
  type Delayed,
  type Effect,
  type Instance,
  type Promoter,
  type Saying,
  type State,
  type Work,
} from './state.ts'

/** One step that can happen now: what people read, the state after it, and what it started. */
export type Step = {
  what: string
  state: State
  /** Somebody outside wants something: nothing of Kiln's own is left to do. */
  isAsked?: true
  started?: { environment: EnvironmentName; instances: readonly Instance[] }
}

export type World = { rules: Rules; logs: Logs }

/** The model has no clock: nothing in it is a matter of time. */
const tools = { digestOfJson: () => digestFor('plan'), now: new Date(0) }

export function stepsOf(world: World, state: State): Step[] {
  return [
    ...([0, 1] as const).flatMap((at) => promoterSteps(world, state, at)),
    ...delayedSteps(world, state),
    ...denial(world, state),
  ].map((step) => joined(world, step))
}

type At = 0 | 1

function promoterSteps(world: World, state: State, at: At): Step[] {
  const promoter = state.promoters[at]
  const name = `promoter ${at + 1}`
  switch (promoter.at) {
    case 'idle':
      return beginnings(world, state, { at, name, promoter })
    case 'plan':
      return [plan(world, state, { at, name, promoter })]
    case 'store': {
      const step = store(world, state, { at, name, promoter })
      return [...crash(state, at, name), step]
    }
    case 'log':
      return [...crash(state, at, name), ...logged(world, state, { at, name, promoter })]
    case 'start':
    case 'retire':
    case 'take-back':
    case 'settle-back':
    case 'otherwise-back':
    case 'clear':
      return [...crash(state, at, name), ...effects(world, state, { at, name, promoter })]
  }
}

type Standing<A extends Promoter['at']> = {
  at: At
  name: string
  promoter: Extract<Promoter, { at: A }>
}

function put(state: State, at: At, promoter: Promoter): State {
  const promoters: [Promoter, Promoter] = [...state.promoters]
  promoters[at] = promoter
  return { ...state, promoters }
}

function idle(noticed: EnvironmentName | null): Promoter {
  return { at: 'idle', noticed }
}

function spend(state: State, what: keyof State['left']): State {
  return { ...state, left: { ...state.left, [what]: state.left[what] - 1 } }
}

/** Its process and its workflow are gone; what was stored, logged and started stays. */
function crash(state: State, at: At, name: string): Step[] {
  if (state.left.crashes === 0) return []
  return [{ what: `${name} loses its work`, state: put(spend(state, 'crashes'), at, idle(null)) }]
}

function beginnings(world: World, state: State, { at, name, promoter }: Standing<'idle'>): Step[] {
  const { ledger } = state.log
  const { noticed } = promoter
  const found =
    noticed === null
      ? [dev, prod].filter(
          (one) => environmentOf(ledger, one).open !== null && !isWorkedOn(state, one),
        )
      : [noticed]
  const own = found.map((environment) => ({
    environment,
    what: `${name} looks after ${environment}`,
    next: replacement(environment, environmentOf(ledger, environment).epoch),
  }))
  if (noticed !== null || state.left.requests === 0) {
    return own.flatMap((one) => beginning(state, at, { ...one, isAsked: false }))
  }
  const asked = wishes
    .filter(({ environment, wish }) => isWorthAsking(world, state, { environment, wish }))
    .map(({ environment, name: wish, wish: wanted }) => ({
      environment,
      what: `${name} is asked to ${wish}`,
      next: work(environment, `r${state.left.requests}`, wanted),
    }))
  return [
    ...own.flatMap((one) => beginning(state, at, { ...one, isAsked: false })),
    ...asked.flatMap((one) => beginning(spend(state, 'requests'), at, { ...one, isAsked: true })),
  ]
}

/** An environment has one workflow; a second one begins only where the first is wrongly thought lost. */
function beginning(
  state: State,
  at: At,
  one: { environment: EnvironmentName; what: string; next: Work; isAsked: boolean },
): Step[] {
  const promoter: Promoter = { at: 'plan', noticed: null, work: one.next }
  const asked = one.isAsked ? { isAsked: true as const } : {}
  if (!isWorkedOn(state, one.environment)) {
    return [{ ...asked, what: one.what, state: put(state, at, promoter) }]
  }
  if (state.left.crashes === 0) return []
  const what = `${one.what}, though the other one is thought lost and is not`
  return [{ ...asked, what, state: put(spend(state, 'crashes'), at, promoter) }]
}

function isWorkedOn(state: State, environment: EnvironmentName): boolean {
  return state.promoters.some(
    (one) => one.at !== 'idle' && one.work.request.environment === environment,
  )
}

/** What would be refused or nothing to do changes no state: it is not asked. */
function isWorthAsking(
  world: World,
  state: State,
  { environment, wish }: { environment: EnvironmentName; wish: Wish },
): boolean {
  return state.log.remember(`${environment} ${JSON.stringify(wish)}`, () => {
    const { request } = work(environment, 'x', wish)
    const decision = world.rules.decide(state.log.ledger, request, tools)
    return decision.kind === 'change' || decision.kind === 'open'
  })
}

const mostTries = 2

function plan(world: World, state: State, { at, name, promoter }: Standing<'plan'>): Step {
  const { noticed } = promoter
  const decision = world.rules.decide(state.log.ledger, promoter.work.request, tools)
  const own = { ...promoter.work, before: 'active' in decision ? decision.active : null }
  switch (decision.kind) {
    case 'change': {
      const change = { ...decision.body, change: own.request.id, reason: '', requestedBy: 'model' }
      const next = { ...own, change, key: decision.active }
      return {
        what: `${name} plans epoch ${change.epoch} of ${change.environment}`,
        state: put(state, at, { at: 'store', says: 'change', noticed, work: next }),
      }
    }
    case 'open': {
      const next = { ...own, change: decision.change }
      const settling: Promoter =
        own.before === null && !world.rules.outcomeFirst
          ? { at: 'settle-back', noticed, began: false, work: next }
          : { at: 'store', says: 'settled', noticed, work: next }
      return {
        what: `${name} finds epoch ${decision.change.epoch} open and settles it`,
        state: put(state, at, settling),
      }
    }
    case 'nothing-serves': {
      const next = { ...own, change: decision.change }
      return {
        what: `${name} finds that nothing serves in ${decision.change.environment}`,
        state: put(state, at, { at: 'clear', noticed, began: false, work: next }),
      }
    }
    case 'release':
    case 'nothing-to-do':
    case 'refused':
      return { what: `${name}: ${decision.kind}`, state: put(state, at, idle(noticed)) }
  }
}

/** The bundle is durable under its decision's id before anyone logs it; the first one stands. */
function store(world: World, state: State, { at, name, promoter }: Standing<'store'>): Step {
  const { noticed, says, work: own } = promoter
  const id = idOf(says, own)
  const isFirst = state.stored[id] === undefined || !world.rules.firstStands
  const stored = isFirst
    ? {
        ...state.stored,
        [id]: signed(id, said(says, own, state.log.ledger), state.left.signings),
      }
    : state.stored
  const next: Promoter = { at: 'log', says, noticed, id, work: own, seen: state.log.facts.length }
  const anew = world.rules.firstStands ? 0 : 1
  const left = { ...state.left, signings: state.left.signings + anew }
  return { what: `${name} stores ${id}`, state: put({ ...state, stored, left }, at, next) }
}

function logged(world: World, state: State, { at, name, promoter }: Standing<'log'>): Step[] {
  const { id, noticed, says, seen, work: own } = promoter
  const content = state.stored[id]
  if (content === undefined) throw new Error(`${id} is not stored`)
  const { leaf } = content
  if (state.log.leaves.has(leaf)) {
    return [heard(world, state, { at, name, promoter, leaf })]
  }
  const fact = { ...content.said, leaf, index: state.log.facts.length, time: '' }
  const log = world.rules.swapHead(state.log.facts, seen, fact)
  if (log === null) {
    return [
      {
        what: `${name} lost the head and reads it again`,
        state: put(state, at, { ...promoter, seen: state.log.facts.length }),
      },
    ]
  }
  const landed = { ...state, log: world.logs.of(log) }
  const steps = [heard(world, landed, { at, name, promoter, leaf })]
  if (state.left.crashes === 0) return steps
  const again: Promoter = { at: 'store', says, noticed, work: own }
  steps.push({
    what: `${name} logs ${id} and does not hear it: it will try again`,
    state: put(spend(landed, 'crashes'), at, again),
  })
  return steps
}

/** Read back: what the log's order made void was lost. */
function heard(
  world: World,
  state: State,
  { at, name, promoter, leaf }: Standing<'log'> & { leaf: string },
): Step {
  const ledger = state.log.ledger
  const acknowledged = state.acknowledged.includes(leaf)
    ? state.acknowledged
    : [...state.acknowledged, leaf]
  const isVoid = ledger.void.has(leaf)
  const next = after(promoter, {
    isVoid,
    outcomeFirst: world.rules.outcomeFirst,
    fact: state.log.facts.find((one) => one.leaf === leaf),
  })
  const what = `${name} logs ${promoter.id}${isVoid ? ': void' : ''}`
  return { what, state: put({ ...state, acknowledged }, at, next) }
}

type Read = { isVoid: boolean; fact: Fact | undefined; outcomeFirst: boolean }

function after(
  { noticed, says, work: own }: Extract<Promoter, { at: 'log' }>,
  { isVoid, fact, outcomeFirst }: Read,
): Promoter {
  const { environment } = own.request
  switch (says) {
    case 'change':
      return isVoid ? planAgain(own, noticed) : afterChange(own, noticed)
    case 'key':
      if (isVoid || fact?.kind !== 'key')
        return { at: 'take-back', noticed, work: own, began: false }
      return { at: 'start', noticed, work: { ...own, key: fact }, began: false }
    case 'active':
    case 'failed':
      if (isVoid) return idle(environment)
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
  return { at: 'settle-back', noticed, work: own, began: false }
}

function outcomeOf(fact: Fact | undefined): string {
  return fact?.kind === 'activation' ? fact.body.outcome : ''
}

/** Another outcome was first than the one this promoter came to. */
function otherwise(own: Work, noticed: EnvironmentName | null): Promoter {
  return own.before === null && own.change?.changeKind !== 'replacement'
    ? { at: 'otherwise-back', noticed, work: own, began: false }
    : idle(own.request.environment)
}

function afterChange(own: Work, noticed: EnvironmentName | null): Promoter {
  const kind = own.change?.changeKind
  return kind === 'promotion' || kind === 'rollback'
    ? { at: 'store', says: 'key', noticed, work: own }
    : { at: 'start', noticed, work: own, began: false }
}

function planAgain(own: Work, noticed: EnvironmentName | null): Promoter {
  const { environment } = own.request
  if (own.tries === mostTries) return idle(environment)
  return {
    at: 'plan',
    noticed,
    work: { ...own, tries: own.tries + 1, change: null, key: null, before: null },
  }
}

function effects(world: World, state: State, standing: Standing<Effect>): Step[] {
  const { at, name, promoter } = standing
  const { began, noticed, work: own } = promoter
  const attempt: Delayed = { effect: promoter.at, work: own, began }
  const steps = [
    perform(world, state, {
      who: name,
      attempt,
      went: (next, result) =>
        put(next, at, afterEffect(promoter, result, world.rules.outcomeFirst)),
    }),
  ]
  if (state.left.delays > 0 && state.delayed === null) {
    const late = { ...spend(state, 'delays'), delayed: attempt }
    steps.push({
      what: `${name}'s ${promoter.at} is late: it is tried again`,
      state: put(late, at, { at: promoter.at, noticed, work: own, began: false }),
    })
  }
  if (began && state.left.crashes > 0) {
    steps.push({
      what: `the host dies before ${name}'s ${promoter.at}: it is tried again`,
      state: put(spend(state, 'crashes'), at, { ...promoter, began: false }),
    })
  }
  return steps
}

type Result = 'began' | 'done' | 'refused'
type Performing = { who: string; attempt: Delayed; went: (state: State, result: Result) => State }

function perform(world: World, state: State, { who, attempt, went }: Performing): Step {
  const { began, effect, work: own } = attempt
  const { environment, epoch = 0 } = { environment: own.request.environment, ...own.change }
  const host = state.hosts[environment]
  if (host === undefined) throw new Error(environment)
  const withHost = (one: typeof host): State => ({
    ...state,
    hosts: { ...state.hosts, [environment]: one },
  })
  if (!began && effect === 'start') {
    const next = begin(world.rules, host, epoch)
    if (next === null)
      return {
        what: `${who}'s ${effect} of epoch ${epoch} is fenced`,
        state: went(state, 'refused'),
      }
    return {
      what: `the host takes epoch ${epoch} for ${who}'s ${effect}`,
      state: went(withHost(next), 'began'),
    }
  }
  const done = act(world.rules, { host, ledger: state.log.ledger }, attempt)
  if (done.kind === 'refused') {
    return {
      what: `the host refuses ${who}'s ${effect}: ${done.why}`,
      state: went(withHost(done.host), 'refused'),
    }
  }
  const what = `the host does ${who}'s ${effect} of epoch ${epoch}`
  return {
    what,
    state: went(withHost(done.host), 'done'),
    started: { environment, instances: done.started },
  }
}

function afterEffect(
  promoter: Extract<Promoter, { at: Effect }>,
  result: Result,
  outcomeFirst: boolean,
): Promoter {
  const { at, noticed, work: own } = promoter
  if (result === 'began') return { ...promoter, began: true }
  if (result === 'done' && at === 'settle-back' && outcomeFirst) return planAgain(own, noticed)
  if (at === 'otherwise-back') return idle(own.request.environment)
  if (at === 'clear') return idle(result === 'done' ? noticed : own.request.environment)
  if (result === 'refused') {
    return at === 'start'
      ? { at: 'take-back', noticed, work: own, began: false }
      : idle(own.request.environment)
  }
  const says = {
    start: null,
    retire: 'active',
    'take-back': 'failed',
    'settle-back': 'settled',
  } as const
  const next: Saying | null = says[at]
  if (next === null) return { at: 'retire', noticed, work: own, began: false }
  return { at: 'store', says: next, noticed, work: own }
}

function delayedSteps(world: World, state: State): Step[] {
  const { delayed } = state
  if (delayed === null) return []
  const went = (next: State, result: Result): State =>
    result === 'began'
      ? { ...next, delayed: { ...delayed, began: true } }
      : { ...next, delayed: null }
  return [
    perform(world, state, { who: 'the late attempt', attempt: delayed, went }),
    { what: 'the late attempt never comes', state: { ...state, delayed: null } },
  ]
}

/** A denial comes from outside, at any time. */
function denial(world: World, state: State): Step[] {
  if (state.left.denials === 0) return []
  const fact: Fact = {
    kind: 'denial',
    artifact: artifacts.a,
    body: { reason: '', requestedBy: 'model' },
    leaf: 'denial a#0',
    index: state.log.facts.length,
    time: '',
  }
  const next = { ...spend(state, 'denials'), log: world.logs.of([...state.log.facts, fact]) }
  return [
    { what: 'a is denied', state: { ...next, acknowledged: [...state.acknowledged, fact.leaf] } },
  ]
}

/**
 * Steps that nobody else can see the middle of are one: a plan with what asked for it, and the bundle of a
 * decision that only this promoter can come to with the plan. What is left between is where others may act.
 */
function joined(world: World, step: Step): Step {
  const at = step.state.promoters.findIndex(
    (one) =>
      one.at === 'plan' || (one.at === 'store' && (one.says === 'change' || one.says === 'key')),
  )
  if (at === -1) return step
  const [next] = promoterSteps(world, step.state, at as At).filter(
    ({ what }) => !what.includes('loses its work'),
  )
  if (next === undefined) return step
  const started = next.started ?? step.started
  return joined(world, {
    ...step,
    ...(started === undefined ? {} : { started }),
    what: next.what.includes(' stores ') ? step.what : `${step.what}; ${next.what}`,
    state: next.state,
  })
}
