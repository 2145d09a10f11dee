import type { Decision } from '../../src/promote/activities.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { servesDenied } from '../../src/domain/plan-return.ts'
import type { Wish } from '../../src/domain/request.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { digestFor } from '../helpers/facts.ts'
import { after, idle, planAgain } from './afterwards.ts'
import { act, observed } from './effects.ts'
import { spent, undisturbed, type At } from './alone.ts'
import { chainOf, ledgerOf, type Logs } from './logs.ts'
import { tellsOf } from './looks.ts'
import { replacement, returning, work, type Asked } from './requests.ts'
import type { Rules } from './rules.ts'
import { idOf, said, signed } from './sayings.ts'
import {
  artifacts,
  environments,
  hostOf,
  isOpen,
  type Delayed,
  type Effect,
  type Instance,
  type Promoter,
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

/** `wishes`: what may be asked for, by name. */
export type World = { rules: Rules; logs: Logs; wishes: readonly Asked[] }

/** The model has no clock: nothing in it is a matter of time. */
const tools = { digestOfJson: () => digestFor('plan'), now: new Date(0) }

export function stepsOf(world: World, state: State): Step[] {
  const alone = spent(world.rules, state) ?? undisturbed(state)
  if (alone !== null) {
    const [next] = promoterSteps(world, state, alone).filter(({ what }) => !what.includes(lossMark))
    if (next !== undefined) return [joined(world, next)]
  }
  return everyStepOf(world, state)
}

/** All of them, also where the order does not matter. */
export function everyStepOf(world: World, state: State): Step[] {
  return [
    ...([0, 1] as const).flatMap((at) => promoterSteps(world, state, at)),
    ...delayedSteps(world, state),
    ...denial(world, state),
  ].map((step) => joined(world, step))
}

/** How the words of a loss end. */
const lossMark = 'loses its work'

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
    case 'observe':
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

function spend(state: State, what: keyof State['left']): State {
  return { ...state, left: { ...state.left, [what]: state.left[what] - 1 } }
}

/** Its process and its workflow are gone; what was stored, logged and started stays. */
function crash(state: State, at: At, name: string): Step[] {
  if (state.left.crashes === 0) return []
  return [{ what: `${name} ${lossMark}`, state: put(spend(state, 'crashes'), at, idle(null)) }]
}

function beginnings(world: World, state: State, standing: Standing<'idle'>): Step[] {
  const { at, name, promoter } = standing
  const { noticed } = promoter
  const found =
    noticed === null ? environments.filter((one) => isSeen(world, state, one)) : [noticed]
  const own = found.map((environment) => ({
    environment,
    what: `${name} looks after ${environment}`,
    next: mending(state, environment),
  }))
  if (noticed !== null) {
    return [
      ...crash(state, at, name),
      ...own.flatMap((one) => beginning(state, at, { ...one, isAsked: false })),
    ]
  }
  if (state.left.requests === 0) {
    return own.flatMap((one) => beginning(state, at, { ...one, isAsked: false }))
  }
  const asked = world.wishes
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

/** A denial's own request finds what serves the denied, as does who starts (src/main/server.ts, `wakeOpenChanges`). */
function mending(state: State, environment: EnvironmentName): Work {
  const { epoch } = chainOf(state.log, environment).state
  return isDenied(state, environment)
    ? returning(environment, epoch)
    : replacement(environment, epoch)
}

function isDenied({ log }: State, environment: EnvironmentName): boolean {
  const chain = chainOf(log, environment)
  return servesDenied(chain.ledger, chain.state)
}

/** A change without an outcome is seen by who starts, what runs and should not by its host. */
function isSeen(world: World, state: State, environment: EnvironmentName): boolean {
  if (isWorkedOn(state, environment)) return false
  return (
    isOpen(state, environment) ||
    (isDenied(state, environment) &&
      isWorthAsking(world, state, { environment, wish: { kind: 'return' } })) ||
    tellsOf(world.rules, state, environment).length > 0
  )
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
  const { kind } = decided(world, state, work(environment, 'x', wish))
  return kind === 'change' || kind === 'open'
}

/** The decision about a request is that about its wish; each is worked out once for all equal logs. */
function decided(world: World, { log }: State, { request }: Work): Decision {
  const others = environments
    .filter((one) => one !== request.environment)
    .map((one) => chainOf(log, one).id)
  const name = `${JSON.stringify(request.wish)} ${others.join()}`
  return chainOf(log, request.environment).remember(name, () =>
    world.rules.decide(ledgerOf(log), request, tools),
  )
}

function plan(world: World, state: State, { at, name, promoter }: Standing<'plan'>): Step {
  const { noticed } = promoter
  const decision = decided(world, state, promoter.work)
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
          ? { at: 'settle-back', noticed, work: next }
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
        state: put(state, at, { at: 'clear', noticed, work: next }),
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
  const id = idOf(says, own, state)
  const isFirst = state.stored[id] === undefined || !world.rules.firstStands
  const stored = isFirst
    ? {
        ...state.stored,
        [id]: signed(id, said(says, own, chainOf(state.log, own.request.environment).ledger), {
          work: own,
          time: state.left.signings,
        }),
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
  if (state.log.has(leaf)) return [heard(world, state, { at, name, promoter, leaf })]
  const fact = { ...content.said, leaf, index: state.log.facts.length, time: '' }
  const log = world.rules.swapHead(state.log.facts, seen, fact)
  // Who lost the head reads it again and goes on: nobody sees anything of it.
  if (log === null) {
    const again = { ...promoter, seen: state.log.facts.length }
    return logged(world, put(state, at, again), { at, name, promoter: again })
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
  const { environment } = promoter.work.request
  const { ledger } = chainOf(state.log, environment)
  const acknowledged = state.acknowledged.includes(leaf)
    ? state.acknowledged
    : [...state.acknowledged, leaf]
  const isVoid = ledger.void.has(leaf)
  const { id, noticed, says, work: own } = promoter
  if (isVoid && id !== idOf(says, own, state)) {
    const again: Promoter = { at: 'store', says, noticed, work: own }
    return { what: `${name} logs ${id}: void`, state: put({ ...state, acknowledged }, at, again) }
  }
  const next = after(promoter, {
    isVoid,
    outcomeFirst: world.rules.outcomeFirst,
    fact: state.log.facts.find((one) => one.leaf === leaf),
  })
  const what = `${name} logs ${id}${isVoid ? ': void' : ''}`
  return { what, state: put({ ...state, acknowledged }, at, next) }
}

function effects(world: World, state: State, standing: Standing<Effect>): Step[] {
  const { at, name, promoter } = standing
  const attempt: Delayed = { effect: promoter.at, work: promoter.work }
  const steps = [
    perform(world, state, {
      who: name,
      attempt,
      went: (next, isDone) => put(next, at, afterEffect(world, next, { promoter, isDone })),
    }),
  ]
  // A late look changes nothing but that older attempts are refused earlier.
  const mayBeLate = promoter.at !== 'observe' && state.left.delays > 0 && state.delayed === null
  if (mayBeLate) {
    steps.push({
      what: `${name}'s ${promoter.at} is late: it is tried again`,
      state: { ...spend(state, 'delays'), delayed: attempt },
    })
  }
  return steps
}

type Performing = { who: string; attempt: Delayed; went: (state: State, isDone: boolean) => State }

function perform(world: World, state: State, { who, attempt, went }: Performing): Step {
  const { effect, work: own } = attempt
  const { environment } = own.request
  const host = hostOf(state, environment)
  const done = act(world.rules, { host, chain: chainOf(state.log, environment) }, attempt)
  const hosts = { ...state.hosts, [environment]: done.host }
  const what =
    done.kind === 'done'
      ? `the host does ${who}'s ${effect} of epoch ${own.change?.epoch}`
      : `the host refuses ${who}'s ${effect}: ${done.why}`
  return {
    what,
    state: went({ ...state, hosts }, done.kind === 'done'),
    started: { environment, instances: done.started },
  }
}

type Performed = { promoter: Extract<Promoter, { at: Effect }>; isDone: boolean }

function afterEffect({ rules }: World, state: State, { promoter, isDone }: Performed): Promoter {
  const { at, noticed, work: own } = promoter
  const { environment } = own.request
  switch (at) {
    case 'observe': {
      if (!isDone) return { at: 'take-back', noticed, work: own }
      const made = observed(hostOf(state, environment), own)
      return { at: 'start', noticed, work: { ...own, made } }
    }
    case 'start':
      return { at: isDone ? 'retire' : 'take-back', noticed, work: own }
    case 'retire':
      return isDone ? { at: 'store', says: 'active', noticed, work: own } : idle(environment)
    case 'take-back':
      return isDone ? { at: 'store', says: 'failed', noticed, work: own } : idle(environment)
    case 'settle-back':
      if (!isDone) return idle(environment)
      return rules.outcomeFirst
        ? planAgain(own, noticed)
        : { at: 'store', says: 'settled', noticed, work: own }
    case 'otherwise-back':
      return idle(environment)
    case 'clear':
      return idle(isDone ? noticed : environment)
  }
}

function withoutDelayed(state: State): State {
  return { ...state, delayed: null }
}

function delayedSteps(world: World, state: State): Step[] {
  const { delayed } = state
  if (delayed === null) return []
  return [
    perform(world, state, { who: 'the late attempt', attempt: delayed, went: withoutDelayed }),
    { what: 'the late attempt never comes', state: withoutDelayed(state) },
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
    ({ what }) => !what.includes(lossMark),
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
