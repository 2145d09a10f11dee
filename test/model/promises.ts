import type { EnvironmentName } from '../../src/domain/name.ts'
import { chainOf, type Chain } from './logs.ts'
import type { World, Step } from './steps.ts'
import { environments, hostOf, nameOf, type State } from './state.ts'

/** Which promise of docs/testing.md is broken, and by what. */
export type Broken = { promise: string; why: string }

/** Everything that must hold in the state that a step leads to. */
export function brokenBy(world: World, before: State, { started, state }: Step): Broken | null {
  const about =
    startedRightly(before, state, started) ?? neverBack(before, state) ?? neverEmpty(state)
  if (about !== null || before.log === state.log) return about
  return (
    nothingLost(before, state) ??
    oneEntryEach(state) ??
    admitsRightly(world, state) ??
    canEnd(state)
  )
}

function startedRightly(before: State, state: State, started: Step['started']): Broken | null {
  if (started === undefined) return null
  const { environment, instances } = started
  const may = chainOf(state.log, environment).plain
  const highest = hostOf(before, environment).record.epoch
  for (const { digest, epoch, key } of instances) {
    if (may.denied.has(digest as never))
      return { promise: 'I9', why: `${environment} started a denied artifact` }
    if (!may.keys.some((one) => one.leaf === key)) {
      return {
        promise: 'I1',
        why: `${environment} started under ${key} in epoch ${epoch}, which admits nothing`,
      }
    }
    if (epoch < highest) {
      return {
        promise: 'I6',
        why: `${environment} started for epoch ${epoch} after epoch ${highest} had acted`,
      }
    }
  }
  return null
}

function nothingLost(before: State, { acknowledged, log }: State): Broken | null {
  const lost = acknowledged.find((leaf) => !log.has(leaf))
  if (lost !== undefined)
    return { promise: 'I2', why: `${lost} was acknowledged and is not in the log` }
  const changed = before.log.facts.findIndex((fact, index) => log.facts[index]?.leaf !== fact.leaf)
  return changed === -1
    ? null
    : { promise: 'I3', why: `entry ${changed} of the log is another one` }
}

function oneEntryEach({ log }: State): Broken | null {
  const ids = log.facts.map(({ leaf }) => leaf.split('#', 1)[0])
  const twice = ids.find((id, index) => leafIsDecision(id) && ids.indexOf(id) !== index)
  return twice === undefined ? null : { promise: 'I4', why: `${twice} is in the log twice` }
}

function leafIsDecision(id: string | undefined): boolean {
  return /^(change|key|activation) /.test(id ?? '')
}

function admitsRightly(world: World, { log }: State): Broken | null {
  for (const environment of environments) {
    const chain = chainOf(log, environment)
    const broken = chain.remember('admits rightly', () => admits(world, environment, chain))
    if (broken !== null) return broken
  }
  return null
}

function admits(
  world: World,
  environment: EnvironmentName,
  { ledger, plain, state }: Chain,
): Broken | null {
  const told = world.rules.admissible(ledger, environment).map(({ key }) => key)
  const wrong = told.find((key) => !plain.keys.some((one) => one.leaf === key))
  if (wrong !== undefined)
    return { promise: 'I1', why: `${wrong} is admissible in ${environment} and should not be` }
  if (told.length > 2)
    return { promise: 'I1', why: `${told.length} keys are admissible in ${environment}` }
  if ((state.open?.leaf ?? null) === (plain.open?.leaf ?? null)) return null
  return {
    promise: 'I6',
    why: `another change of ${environment} counts as open than the first in log order`,
  }
}

/** Whoever comes to an open change finds the outcome that is stored: it must not be void. */
function canEnd({ log, stored }: State): Broken | null {
  for (const environment of environments) {
    const { ledger, state } = chainOf(log, environment)
    const id = `activation ${environment} ${state.epoch}`
    const outcomes = [stored[id], stored[`${id} again`]]
    if (state.open === null || !outcomes.every((one) => ledger.void.has(one?.leaf ?? ''))) continue
    return { promise: 'I8', why: `no outcome of epoch ${state.epoch} of ${environment} can stand` }
  }
  return null
}

function neverBack(before: State, after: State): Broken | null {
  for (const environment of environments) {
    const [was, is] = [hostOf(before, environment).record, hostOf(after, environment).record]
    if (was === is) continue
    if (is.epoch < was.epoch)
      return {
        promise: 'I6',
        why: `the host of ${environment} went from epoch ${was.epoch} back to ${is.epoch}`,
      }
    if (is.sequence < was.sequence)
      return { promise: 'I10', why: `the host of ${environment} went back to key ${is.sequence}` }
    if (is.epoch === was.epoch && was.key !== null && is.key !== was.key) {
      return { promise: 'I6', why: `epoch ${is.epoch} of ${environment} acts under two keys` }
    }
  }
  return null
}

/** What serves is never ended before something else does. */
function neverEmpty(state: State): Broken | null {
  for (const environment of environments) {
    const { active, denied, open } = chainOf(state.log, environment).plain
    if (
      active === null ||
      denied.has(active.body.digest) ||
      open !== null ||
      isBusy(state, environment)
    )
      continue
    if (hostOf(state, environment).instances.length === 0) {
      return { promise: 'I8', why: `nothing runs in ${environment}, and nobody is at it` }
    }
  }
  return null
}

function isBusy({ delayed, promoters }: State, environment: EnvironmentName): boolean {
  if (delayed?.work.request.environment === environment) return true
  return promoters.some(
    (one) =>
      one.noticed === environment ||
      (one.at !== 'idle' && one.work.request.environment === environment),
  )
}

/** Where nothing more happens: every change has one outcome, and exactly what the log says runs. */
export function brokenAtRest(state: State): Broken | null {
  for (const environment of environments) {
    const { active, denied, open } = chainOf(state.log, environment).plain
    if (open !== null)
      return { promise: 'I8', why: `epoch ${open.body.epoch} of ${environment} has no outcome` }
    if (active !== null && denied.has(active.body.digest))
      return { promise: 'I9', why: `${environment} serves what was denied, and nobody is at it` }
    const { instances, running } = chainOf(state.log, environment).state
    const found = hostOf(state, environment).instances
    const wrong = found.filter((one) => one.key !== active?.leaf)
    const names = found.map(nameOf).toSorted().join()
    const wanted = running
      .map(({ name }) => name)
      .toSorted()
      .join()
    const count = active === null ? 0 : instances
    if (wrong.length > 0 || found.length !== count || names !== wanted) {
      return {
        promise: 'I8',
        why: `${environment} should run ${count} of ${active?.leaf ?? 'nothing'} (${wanted}) and runs ${names}`,
      }
    }
  }
  return null
}
