import { environmentOf, type Ledger } from '../../src/domain/ledger.ts'
import type { Leaf } from '../../src/domain/statement.ts'
import { isFenced, type Rules } from './rules.ts'
import type { Delayed, Effect, Host, Instance } from './state.ts'

export type Done =
  | { kind: 'done'; host: Host; started: readonly Instance[] }
  | { kind: 'refused'; host: Host; why: string }

/** The epoch is durable before anything is done (src/runtime/fence.ts, `run`). */
export function begin(rules: Rules, host: Host, epoch: number): Host | null {
  try {
    return { ...host, record: rules.takeEpoch(host.record, epoch) }
  } catch (error) {
    if (isFenced(error)) return null
    throw error
  }
}

/** The effect itself, after its turn has come: the epoch is asked again. */
export function act(
  rules: Rules,
  at: { host: Host; ledger: Ledger },
  { effect, work }: Pick<Delayed, 'effect' | 'work'>,
): Done {
  const { change } = work
  if (change === null) throw new Error('an effect without a change')
  const current = begin(rules, at.host, change.epoch)
  if (current === null) return { kind: 'refused', host: at.host, why: 'fenced' }
  if (effect === 'start') return start(rules, { host: current, ledger: at.ledger }, work)
  const instances = kept(effect, current, work)
  return { kind: 'done', started: [], host: { ...current, instances } }
}

/** src/runtime/activities.ts, `start`, and the host's own admission (src/main/admission.ts). */
function start(
  rules: Rules,
  { host, ledger }: { host: Host; ledger: Ledger },
  work: Delayed['work'],
): Done {
  const { change, key } = work
  if (change === null || key === null) throw new Error('a start without a key')
  const denied = [...new Set([...host.denied, ...ledger.denied.keys()])].toSorted()
  const seen = { ...host, denied }
  const refused = (why: string): Done => ({ kind: 'refused', host: seen, why })
  const state = environmentOf(ledger, change.environment)
  if (state.epoch < host.record.epoch) return refused('the ledger ends before what the host saw')
  const least = Math.min(host.record.sequence, state.active?.body.sequence ?? host.record.sequence)
  const admitted = rules
    .admissible(ledger, change.environment)
    .find((one) => one.key === key.leaf && one.digest === change.target.digest)
  if (admitted === undefined || admitted.definition !== change.target.definition) {
    return refused('not admissible')
  }
  if (admitted.sequence < least) return refused('an older key than the host saw')
  if (denied.includes(change.target.digest)) return refused('denied')
  try {
    const record = rules.takeKey(host.record, { leaf: key.leaf, sequence: key.body.sequence })
    const missing = change.instances - serving(host, key.leaf, change.epoch).length
    const started = Array.from({ length: Math.max(0, missing) }, (_, at) => ({
      epoch: change.epoch,
      number: at + 1,
      key: key.leaf,
      digest: change.target.digest,
    })).filter((one) => !host.instances.some((other) => sameName(one, other)))
    const instances = [...host.instances, ...started]
    return { kind: 'done', started, host: { ...seen, record, instances } }
  } catch (error) {
    if (isFenced(error)) return refused('the epoch has another key')
    throw error
  }
}

/** Instances of the key that earlier epochs made: they are kept (workflows/change.ts, `bringUp`). */
function serving(host: Host, key: Leaf, epoch: number): readonly Instance[] {
  return host.instances.filter((one) => one.key === key && one.epoch < epoch)
}

function sameName(one: Instance, other: Instance): boolean {
  return one.epoch === other.epoch && one.number === other.number
}

/** What an effect that ends instances leaves (`retire`, `takeBack`). */
function kept(
  effect: Effect,
  host: Host,
  { before, change, key }: Delayed['work'],
): readonly Instance[] {
  const epoch = change?.epoch ?? 0
  if (effect !== 'retire') {
    return host.instances.filter((one) => one.epoch < epoch && one.key === before?.leaf)
  }
  const own = key?.leaf ?? ''
  const older = serving(host, own, epoch).slice(0, change?.instances)
  return host.instances.filter(
    (one) => older.includes(one) || (one.epoch === epoch && one.key === own),
  )
}
