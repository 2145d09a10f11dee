import type { EnvironmentName } from '../../src/domain/name.ts'
import type { FoundDrift, Wanted } from '../../src/runtime/drift.ts'
import type { Found } from '../../src/runtime/engine.ts'
import type { HostRecord } from '../../src/runtime/host-record.ts'
import { chainOf } from './logs.ts'
import type { Rules } from './rules.ts'
import { hostOf, nameOf, type State } from './state.ts'

/**
 * What a host's look at an environment finds (src/runtime/judge.ts). Nobody but Kiln makes or ends anything
 * in the model: whatever runs was made by it, and whatever is gone was ended by it.
 */
export function tellsOf(rules: Rules, state: State, environment: EnvironmentName): FoundDrift[] {
  const known = chainOf(state.log, environment).state
  const { instances, record } = hostOf(state, environment)
  const digest = known.active?.body.digest ?? ''
  const wanted: Wanted = {
    instances: known.running.map((one) => ({ ...one, digest })),
    closed: known.open === null ? known.epoch : null,
  }
  const names = instances.map(nameOf)
  const found = names.map((name) => ({ id: name, name, state: 'running' }) as Found)
  const own: HostRecord = {
    ...record,
    made: Object.fromEntries(names.map((name) => [name, ''])),
    ended: known.running.map(({ name }) => name).filter((name) => !names.includes(name)),
  }
  return rules.findDrift(wanted, found, own)
}
