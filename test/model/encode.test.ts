import { expect, test } from 'vitest'
import { budgetOf, exactKeyOf, keyOf } from './encode.ts'
import { openLogs } from './logs.ts'
import { brokenBy } from './promises.ts'
import { everything } from './requests.ts'
import { realRules } from './rules.ts'
import { environments, firstState, type State } from './state.ts'
import { everyStepOf, type World } from './steps.ts'

const rules = realRules
const textOf = (state: State) => `${keyOf(rules, state)}\n${budgetOf(state).join()}`

/** Where the state's steps lead, as texts; a step to a state of its own text is none. */
function onwards(world: World, state: State, next: (state: State) => void): string {
  const own = textOf(state)
  const texts = everyStepOf(world, state).map((step) => {
    next(step.state)
    return `${textOf(step.state)}\n${step.isAsked} ${brokenBy(world, state, step)?.promise}`
  })
  return [...new Set(texts)]
    .filter((text) => !text.startsWith(`${own}\n`))
    .toSorted()
    .join('\n\n')
}

test.each([
  { requests: 2, crashes: 1, delays: 0, denials: 0 },
  { requests: 1, crashes: 1, delays: 1, denials: 1 },
  { requests: 2, crashes: 0, delays: 0, denials: 1 },
])(
  'states that are told apart by nothing but what is left out go on alike: $requests requests, $crashes crash, $delays late, $denials denied',
  (left) => {
    const world: World = { rules, logs: openLogs(rules, environments), wishes: everything }
    const first = firstState(world.logs, left)
    const seen = new Set([exactKeyOf(first)])
    const ways = new Map<string, string>()
    const waiting = [first]
    const wrong: string[] = []
    let merged = 0
    for (let state = waiting.pop(); state !== undefined; state = waiting.pop()) {
      const text = textOf(state)
      const way = onwards(world, state, (next) => {
        const key = exactKeyOf(next)
        if (seen.has(key)) return
        seen.add(key)
        waiting.push(next)
      })
      const before = ways.get(text) ?? way
      if (ways.has(text)) merged += 1
      if (way !== before) wrong.push(`${text}\n\n${before}\n\n${way}`)
      ways.set(text, way)
    }
    process.stdout.write(`model: ${seen.size} states, ${ways.size} that differ\n`)
    expect(wrong[0]).toBeUndefined()
    expect(merged).toBeGreaterThan(500)
  },
  600_000,
)
