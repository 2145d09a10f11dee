import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Wish } from '../../src/domain/request.ts'
import type { Digest } from '../../src/domain/digest.ts'
import type { ChangeBody, FactOf, Leaf } from '../../src/domain/statement.ts'
import { chainOf, type Chain } from './logs.ts'
import { isFencedAt, type Rules } from './rules.ts'
import {
  artifacts,
  environments,
  hostOf,
  type Host,
  type Promoter,
  type State,
  type Stored,
  type Work,
} from './state.ts'

/**
 * One text for all states that go on alike, so that one of them is explored for all. What is left out of it:
 *
 * - Which promoter is which: they are told apart by what they do (symmetry).
 * - The order of entries of different environments: nothing decides by it (logs.ts).
 * - Leaves: they are only ever compared. In an environment there is one valid change of an epoch and one
 *   valid key of a sequence, so these numbers are their names, and a renaming of leaves changes no step.
 * - What the fold forgets: a past that leaves the same epoch, sequence, keys, instances and open change
 *   behind has the same future. Holds and budgets are left out: the model asks for nothing that reads them.
 * - Decisions that nobody can come to again: a bundle is looked up under its id, and the ids of an epoch
 *   are only asked for by who works on that epoch, and by who finds it open.
 * - A late attempt that its host will refuse, whose epoch is over: nobody hears of it.
 * - Whether a writer has yet to notice that the head moved: it will, before anything that anybody sees.
 * - What was acknowledged: that it is still there was checked at every step that changed the log.
 *
 * test/model/encode.test.ts holds it: in a smaller world, states with one text have steps to the same texts.
 */
export function keyOf(rules: Rules, state: State): string {
  const { left } = state
  return [
    ...environments.map((name) => keyOfEnvironment(state, name)),
    state.promoters
      .map((one) => keyOfPromoter(rules, state, one))
      .toSorted()
      .join('|'),
    keyOfDelayed(rules, state),
    left.signings,
  ].join('\n')
}

/** An attempt that its host will refuse does as much as one that never comes. */
function keyOfDelayed(rules: Rules, state: State): string {
  const { delayed } = state
  if (delayed === null) return ''
  const { environment, epoch = 0 } = delayed.work.change ?? {}
  const { record } = hostOf(state, environment ?? delayed.work.request.environment)
  const isOver = once(fenced, [record, epoch], () => isFencedAt(rules, record, epoch))
  return isOver ? '' : `${delayed.effect} ${keyOfWork(state, delayed.effect, delayed.work)}`
}

/** All that tells states apart: what the other text is measured against. */
export function exactKeyOf(state: State): string {
  const { acknowledged, delayed, hosts, left, log, promoters, stored } = state
  const leaves = log.facts.map(({ leaf }) => leaf)
  return JSON.stringify([leaves, stored, acknowledged, promoters, hosts, delayed, left])
}

function keyOfEnvironment(state: State, name: EnvironmentName): string {
  const chain = chainOf(state.log, name)
  const live: string[] = []
  for (const one of Object.values(state.stored)) {
    if (one.environment === name && isLive(state, chain, one)) live.push(keyOfStored(chain, one))
  }
  return `${keyOfHost(chain, hostOf(state, name))}#${live.toSorted().join()}`
}

/** What was worked out of objects that never change; an object that is gone takes its answers with it. */
const hostKeys = new WeakMap<Host, Map<number, string>>()
const storedKeys = new WeakMap<Stored, Map<number, string>>()
const wishKeys = new WeakMap<Wish, string>()
const fenced = new WeakMap<Host['record'], Map<number, boolean>>()

function once<O extends object, K, T>(
  known: WeakMap<O, Map<K, T>>,
  [of, name]: readonly [O, K],
  work: () => T,
): T {
  const answers = known.get(of) ?? new Map<K, T>()
  known.set(of, answers)
  const found = answers.get(name)
  if (found !== undefined) return found
  const made = work()
  answers.set(name, made)
  return made
}

function keyOfHost(chain: Chain, host: Host): string {
  return once(hostKeys, [host, chain.id], () => {
    const { denied, instances, record } = host
    const running = instances
      .map(({ epoch, number, key }) => `${epoch}.${number}${nameOfKey(chain, key)}`)
      .toSorted()
    const key = record.key === null ? '' : nameOfKey(chain, record.key)
    return `${pastOf(chain)}#${record.epoch} ${record.sequence} ${key} ${denied.length}#${running.join()}`
  })
}

/** What the fold leaves of a chain, without what nothing in the model reads. */
function pastOf(chain: Chain): string {
  return chain.remember('past', () => {
    const { epoch, sequence, open, pending, active, good, running, instances } = chain.state
    return [
      epoch,
      sequence,
      open === null ? '-' : bodyText(open.body),
      pending === null ? '' : 'p',
      active?.body.sequence,
      good.map(({ body }) => `${body.sequence}${letter(body.digest)}${body.rollbackTo?.sequence}`),
      running.map(({ name }) => name),
      instances,
      [...chain.ledger.denied.keys()].map(letter),
      failedReturn(chain),
    ].join(' ')
  })
}

/** Whether the target of a return was found at fault: the next one is a stop. */
function failedReturn({ state: { closed, outcome } }: Chain): string {
  if (closed?.body.changeKind !== 'return') return ''
  return `${closed.body.from?.sequence}${outcome?.body.failure?.code}`
}

function letter(digest: Digest): string {
  return digest === artifacts.a ? 'a' : 'b'
}

function bodyText(body: ChangeBody): string {
  const { changeKind, instances, rollbackTo, target } = body
  return `${changeKind}${letter(target.digest)}${instances}${rollbackTo?.sequence}`
}

function nameOfKey(chain: Chain, leaf: Leaf): string {
  const names = chain.remember('keys', () => {
    const keys = chain.facts.filter((fact) => fact.kind === 'key')
    const valid = keys.filter((fact) => !chain.ledger.void.has(fact.leaf))
    return new Map(valid.map((fact) => [fact.leaf, `K${fact.body.sequence}`]))
  })
  return names.get(leaf) ?? leaf
}

/** A change is asked for again by who logs it, and told of there; or by the next replacement of its kind. */
function isLive(state: State, { state: known }: Chain, one: Stored): boolean {
  if (one.request !== null) {
    return one.epoch > known.epoch && /^(replacement|return)\./.test(one.request)
  }
  if (one.epoch > known.epoch || (one.epoch === known.epoch && known.open !== null)) return true
  return state.promoters.some(
    (other) =>
      other.at !== 'idle' &&
      other.at !== 'clear' &&
      other.work.change?.environment === one.environment &&
      other.work.change.epoch === one.epoch,
  )
}

function keyOfStored(chain: Chain, one: Stored): string {
  return once(storedKeys, [one, chain.id], () => {
    return `${one.id} ${stands(chain, one)} ${contentOf(chain, one.said)}`
  })
}

function stands({ leaves, ledger }: Chain, { leaf }: Stored): string {
  if (!leaves.has(leaf)) return 'waits'
  return ledger.void.has(leaf) ? 'void' : 'stands'
}

function contentOf(chain: Chain, said: Stored['said']): string {
  if (said.kind === 'change') return bodyText(said.body)
  if (said.kind === 'key') return `K${said.body.sequence}${letter(said.body.digest)}`
  if (said.kind !== 'activation') throw new Error(said.kind)
  const { failure, outcome, key, instances, serving } = said.body
  const under = key === null ? '' : nameOfKey(chain, key)
  return `${outcome}${failure?.code}${under}${serving?.sequence} ${instances.map(({ name }) => name).join('+')}`
}

function keyOfPromoter(rules: Rules, state: State, one: Promoter): string {
  if (one.at === 'idle') return `idle ${one.noticed}`
  return `${one.at} ${detailOf(rules, state, one)} ${one.noticed} ${keyOfWork(state, one.at, one.work)}`
}

function detailOf(
  rules: Rules,
  { log, stored }: State,
  one: Exclude<Promoter, { at: 'idle' }>,
): string {
  switch (one.at) {
    case 'store':
      return one.says
    case 'log': {
      const own = stored[one.id]
      if (own === undefined) throw new Error(`${one.id} is not stored`)
      const fact = { ...own.said, leaf: own.leaf, index: log.facts.length, time: '' }
      const behind = log.facts.length - one.seen
      const isLost = behind > 0 && rules.swapHead(log.facts, one.seen, fact) === null
      const chain = chainOf(log, own.environment)
      return `${one.says} ${isLost ? 0 : behind} ${stands(chain, own)} ${one.id.endsWith('again')}`
    }
    case 'plan':
    case 'observe':
    case 'start':
    case 'retire':
    case 'take-back':
    case 'settle-back':
    case 'otherwise-back':
    case 'clear':
      return ''
  }
}

function textOf(wish: Wish): string {
  const known = wishKeys.get(wish) ?? JSON.stringify(wish)
  wishKeys.set(wish, known)
  return known
}

/** Of a change that is over only its epoch counts. */
function keyOfWork({ log }: State, at: Promoter['at'], work: Work): string {
  const { request, tries, change, before, key, made } = work
  const chain = chainOf(log, request.environment)
  const of = (fact: FactOf<'key'> | null) => (fact === null ? '' : nameOfKey(chain, fact.leaf))
  const body = change === null || at === 'clear' ? '' : bodyText(change)
  const isOwn = request.wish.kind === 'replacement' || request.wish.kind === 'return'
  const who = isOwn ? request.id : 'asked'
  const start = made === null ? '' : `${made.keep.join('+')}:${made.count}`
  return `${who} ${textOf(request.wish)} ${tries} ${change?.epoch} ${body} ${of(before)} ${of(key)} ${start}`
}

/** What may still happen, each kind in its own place. */
export function budgetOf({ left }: State): readonly number[] {
  return [left.requests, left.crashes, left.delays, left.denials]
}
