import type { Chain } from './logs.ts'
import { isFenced, type Rules } from './rules.ts'
import { servingOf } from './sayings.ts'
import { nameOf, type Delayed, type Effect, type Host, type Instance } from './state.ts'

export type Done = { host: Host; started: readonly Instance[] } & (
  | { kind: 'done' }
  | { kind: 'refused'; why: string }
)

/** The epoch is durable before anything is done, and asked again at the turn (src/runtime/fence.ts, `run`). */
function begin(rules: Rules, host: Host, epoch: number): Host | null {
  try {
    return { ...host, record: rules.takeEpoch(host.record, epoch) }
  } catch (error) {
    if (isFenced(error)) return null
    throw error
  }
}

export function act(
  rules: Rules,
  at: { host: Host; chain: Chain },
  { effect, work }: Delayed,
): Done {
  const { change } = work
  if (change === null) throw new Error('an effect without a change')
  const current = begin(rules, at.host, change.epoch)
  if (current === null) return { kind: 'refused', host: at.host, started: [], why: 'fenced' }
  if (effect === 'observe') return { kind: 'done', started: [], host: current }
  if (effect === 'start') return start(rules, { host: current, chain: at.chain }, work)
  const instances = kept(effect, current, work)
  return { kind: 'done', started: [], host: { ...current, instances } }
}

/** Of what the host tells of the key some is kept, the rest is started (workflows/change.ts, `bringUp`). */
export function observed(host: Host, { change, key }: Delayed['work']): Delayed['work']['made'] {
  const wanted = change?.instances ?? 0
  const keep = host.instances
    .filter((one) => one.key === key?.leaf)
    .toSorted((a, b) => a.epoch - b.epoch || a.number - b.number)
    .slice(0, wanted)
    .map(nameOf)
  return { keep, count: wanted - keep.length }
}

/**
 * The host's own admission (src/main/admission.ts), the start (src/runtime/activities.ts, `start`), and the
 * wait until all that shall serve answer at the edge.
 */
function start(
  rules: Rules,
  { host, chain }: { host: Host; chain: Chain },
  work: Delayed['work'],
): Done {
  const { change, key, made } = work
  if (change === null || key === null || made === null) throw new Error('a start of nothing')
  const { ledger, state } = chain
  const denied = [...new Set([...host.denied, ...ledger.denied.keys()])].toSorted()
  const seen = { ...host, denied }
  const refused = (why: string): Done => ({ kind: 'refused', host: seen, started: [], why })
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
    const { epoch, target } = change
    const started = Array.from({ length: made.count }, (_, at) => ({
      epoch,
      number: at + 1,
      key: key.leaf,
      digest: target.digest,
    })).filter((one) => !host.instances.some((other) => nameOf(one) === nameOf(other)))
    const next = { ...seen, record, instances: [...host.instances, ...started] }
    const names = next.instances.map(nameOf)
    return made.keep.every((name) => names.includes(name))
      ? { kind: 'done', started, host: next }
      : { kind: 'refused', started, host: next, why: 'what was to be kept is gone' }
  } catch (error) {
    if (isFenced(error)) return refused('the epoch has another key')
    throw error
  }
}

/** What an effect that ends instances leaves (workflows/change.ts, `retire` and `takeBack`). */
function kept(effect: Effect, host: Host, work: Delayed['work']): readonly Instance[] {
  const { before, change } = work
  if (effect === 'retire') {
    const serving = servingOf(work)
    return host.instances.filter((one) => serving.includes(nameOf(one)))
  }
  return host.instances.filter(
    (one) => one.epoch < (change?.epoch ?? 0) && one.key === before?.leaf,
  )
}
