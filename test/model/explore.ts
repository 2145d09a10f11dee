import { hash } from 'node:crypto'
import { budgetOf, keyOf } from './encode.ts'
import { openLogs } from './logs.ts'
import { brokenAtRest, brokenBy, type Broken } from './promises.ts'
import { everything, type Asked } from './requests.ts'
import type { Rules } from './rules.ts'
import { environments, firstState, type State } from './state.ts'
import { stepsOf, type World } from './steps.ts'

export type Explored = {
  states: number
  steps: number
  /** States in which nothing more can happen. */
  atRest: number
  /** The longest way from the first state. */
  depth: number
  /** The shortest way to a broken promise, a line for each step. */
  found: (Broken & { trace: readonly string[] }) | null
}

/**
 * How each state was come to first: from which one, and by which of its steps. 5 bytes a state; the words
 * are found again by going the way once more.
 */
type Ways = { from: number[]; step: number[] }

export type Extent = { left: Partial<State['left']>; wishes?: readonly Asked[] }

/** Every state that can be reached, the nearest first; stops at the first broken promise. */
export function explore(rules: Rules, { left, wishes = everything }: Extent): Explored {
  const world: World = { rules, logs: openLogs(rules, environments), wishes }
  const first = firstState(world.logs, left)
  // States are remembered by 160 bits: that two of a billion share them has a chance below 10^-30.
  const seen = openSeen(rules)
  seen(first)
  const ways: Ways = { from: [-1], step: [0] }
  const size = { states: 1, steps: 0, atRest: 0, depth: 0 }
  const told = (broken: Broken, at: number, last: readonly string[]): Explored => ({
    ...size,
    found: { ...broken, trace: [...traceTo(world, first, { ways, end: at }), ...last] },
  })
  let level: { state: State; at: number }[] = [{ state: first, at: 0 }]
  for (; level.length > 0; size.depth += 1) {
    const next: typeof level = []
    for (const { at, state } of level) {
      const steps = stepsOf(world, state)
      size.steps += steps.length
      if (steps.every(({ isAsked }) => isAsked === true)) {
        size.atRest += 1
        const broken = brokenAtRest(state)
        if (broken !== null) return told(broken, at, [])
      }
      for (const [number, step] of steps.entries()) {
        const broken = brokenBy(world, state, step)
        if (broken !== null) return told(broken, at, [step.what])
        if (seen(step.state)) continue
        ways.from.push(at)
        ways.step.push(number)
        next.push({ state: step.state, at: size.states })
        size.states += 1
      }
    }
    level = next
  }
  return { ...size, depth: size.depth - 1, found: null }
}

/**
 * Whether a state like this one was seen, in which as much may still happen or more: everything that can
 * follow from this one follows from that one too.
 */
function openSeen(rules: Rules): (state: State) => boolean {
  const known = new Map<string, (readonly number[])[]>()
  return (state) => {
    const key = hash('sha1', keyOf(rules, state), 'latin1' as 'base64')
    const budget = budgetOf(state)
    const before = known.get(key) ?? []
    if (before.some((other) => budget.every((left, at) => left <= (other[at] ?? 0)))) return true
    known.set(key, [...before, budget])
    return false
  }
}

function traceTo(world: World, first: State, to: { ways: Ways; end: number }): string[] {
  const numbers: number[] = []
  for (let at = to.end; at > 0; at = to.ways.from[at] ?? 0) numbers.unshift(to.ways.step[at] ?? 0)
  let state = first
  return numbers.map((number) => {
    const step = stepsOf(world, state)[number]
    if (step === undefined) throw new Error('the way is another one the second time')
    state = step.state
    return step.what
  })
}
