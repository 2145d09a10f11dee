import type { EnvironmentName } from '../../src/domain/name.ts'
import { environmentOf, type Ledger } from '../../src/domain/ledger.ts'
import type { FactOf } from '../../src/domain/statement.ts'
import type { Found } from '../../src/runtime/engine.ts'
import type { World, Step } from './steps.ts'
import { environments, type Host, type State } from './state.ts'

/** Which promise of docs/testing.md is broken, and by what. */
export type Broken = { promise: string; why: string }

/** Everything that must hold in the state that a step leads to. */
export function brokenBy(world: World, before: State, { started, state }: Step): Broken | null {
  const { ledger } = state.log
  const about =
    startedRightly(before, state, started) ?? neverBack(before, state) ?? neverEmpty(state)
  if (about !== null || before.log === state.log) return about
  return nothingLost(before, state) ?? oneEntryEach(state) ?? admitsRightly(world, state, ledger)
}

function startedRightly(before: State, state: State, started: Step['started']): Broken | null {
  if (started === undefined) return null
  const { environment, instances } = started
  const may = state.log.plain(environment)
  const highest = before.hosts[environment]?.record.epoch ?? 0
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
  const lost = acknowledged.find((leaf) => !log.leaves.has(leaf))
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

function admitsRightly(world: World, { log }: State, ledger: Ledger): Broken | null {
  for (const environment of environments) {
    const plain = log.plain(environment)
    const told = world.rules.admissible(ledger, environment).map(({ key }) => key)
    const wrong = told.find((key) => !plain.keys.some((one) => one.leaf === key))
    if (wrong !== undefined)
      return { promise: 'I1', why: `${wrong} is admissible in ${environment} and should not be` }
    if (told.length > 2)
      return { promise: 'I1', why: `${told.length} keys are admissible in ${environment}` }
    if ((environmentOf(ledger, environment).open?.leaf ?? null) !== (plain.open?.leaf ?? null)) {
      return {
        promise: 'I6',
        why: `another change of ${environment} counts as open than the first in log order`,
      }
    }
  }
  return null
}

function neverBack(before: State, after: State): Broken | null {
  for (const environment of environments) {
    const [was, is] = [before.hosts[environment]?.record, after.hosts[environment]?.record]
    if (was === undefined || is === undefined) continue
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
    const { active, denied, open } = state.log.plain(environment)
    if (
      active === null ||
      denied.has(active.body.digest) ||
      open !== null ||
      isBusy(state, environment)
    )
      continue
    if (state.hosts[environment]?.instances.length === 0) {
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
export function brokenAtRest(world: World, state: State): Broken | null {
  const { ledger } = state.log
  for (const environment of environments) {
    const { active, denied, open } = state.log.plain(environment)
    if (open !== null)
      return { promise: 'I8', why: `epoch ${open.body.epoch} of ${environment} has no outcome` }
    const host = state.hosts[environment]
    if (host === undefined || (active !== null && denied.has(active.body.digest))) continue
    // Work that was lost a second time, before the first loss was made good: something serves, and the next
    // change of the environment makes it what the log says.
    if (state.left.crashes === 0) {
      if (active === null || host.instances.length > 0) continue
      return { promise: 'I8', why: `nothing runs in ${environment}` }
    }
    const wanted = environmentOf(ledger, environment).instances
    const right = host.instances.filter((one) => one.key === active?.leaf)
    if (right.length !== host.instances.length || right.length < wanted) {
      return {
        promise: 'I8',
        why: `${environment} should run ${wanted} of ${active?.leaf ?? 'nothing'} and runs ${describe(host)}`,
      }
    }
    const drift = driftOf(world, host, active)
    if (drift !== null) return { promise: 'I8', why: drift }
  }
  return null
}

function describe({ instances }: Host): string {
  return (
    instances.map(({ epoch, key, number }) => `${key} (${epoch}.${number})`).join(', ') || 'nothing'
  )
}

/** The host's own look at the same: it finds no difference either. */
function driftOf(
  { rules }: World,
  { instances, record }: Host,
  active: FactOf<'key'> | null,
): string | null {
  const found = instances.map((one) => ({
    id: `${one.epoch}.${one.number}`,
    name: `${one.epoch}.${one.number}`,
    imageId: one.digest,
    state: 'running',
    startedAt: '',
    exitCode: 0,
    address: '',
    labels: null,
    info: {} as Found['info'],
  }))
  const expected = instances
    .filter((one) => one.key === active?.leaf)
    .map((one) => ({
      name: `${one.epoch}.${one.number}`,
      id: `${one.epoch}.${one.number}`,
      digest: one.digest,
    }))
  const [drift] = rules.findDrift({ instances: expected, closed: null }, found, record)
  return drift === undefined ? null : `${drift.instance} is ${drift.cause}`
}
