import { openLogs } from './logs.ts'
import { brokenAtRest, brokenBy, type Broken } from './promises.ts'
import type { Rules } from './rules.ts'
import { firstState, keyOf, type State } from './state.ts'
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

type Node = { state: State; at: number; depth: number }

/** Every state that can be reached, the nearest first; stops at the first broken promise. */
export function explore(rules: Rules, left: Partial<State['left']> = {}): Explored {
  const world: World = { rules, logs: openLogs(rules) }
  const first = firstState(world.logs, left)
  const seen = new Set([keyOf(first)])
  const way: { from: number; what: string }[] = [{ from: -1, what: '' }]
  const found = { states: 1, steps: 0, atRest: 0, depth: 0 }
  let level: Node[] = [{ state: first, at: 0, depth: 0 }]
  const told = (broken: Broken, at: number, last: readonly string[]): Explored => ({
    ...found,
    found: { ...broken, trace: [...traceTo(way, at), ...last] },
  })
  while (level.length > 0) {
    const next: Node[] = []
    for (const { at, depth, state } of level) {
      const steps = stepsOf(world, state)
      found.steps += steps.length
      if (steps.every(({ isAsked }) => isAsked === true)) {
        found.atRest += 1
        const broken = brokenAtRest(world, state)
        if (broken !== null) return told(broken, at, [])
      }
      for (const step of steps) {
        const broken = brokenBy(world, state, step)
        if (broken !== null) return told(broken, at, [step.what])
        const key = keyOf(step.state)
        if (seen.has(key)) continue
        seen.add(key)
        way.push({ from: at, what: step.what })
        next.push({ state: step.state, at: way.length - 1, depth: depth + 1 })
        found.states += 1
        found.depth = depth + 1
      }
    }
    level = next
  }
  return { ...found, found: null }
}

function traceTo(way: readonly { from: number; what: string }[], end: number): string[] {
  const trace: string[] = []
  for (let at = end; at > 0; at = way[at]?.from ?? 0) trace.unshift(way[at]?.what ?? '')
  return trace
}
