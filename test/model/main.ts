import { explore, type Explored } from './explore.ts'
import { realRules, seeded } from './rules.ts'
import { seededWorld, wholeWorlds, worlds } from './worlds.ts'

/** `npm run model`: what the model covers, and the way to each seeded fault, for people. */
let isGood = true

function tell(name: string, { atRest, depth, found, states, steps }: Explored): void {
  const size = `${states} states, ${steps} steps, ${atRest} at rest, ${depth} deep`
  process.stdout.write(`${name}: ${size}\n`)
  if (found === null) return
  process.stdout.write(`  ${found.promise} broken: ${found.why}\n`)
  for (const [at, what] of found.trace.entries()) process.stdout.write(`  ${at + 1}. ${what}\n`)
}

for (const world of [...worlds, ...wholeWorlds]) {
  const explored = explore(realRules, world)
  tell(world.name, explored)
  isGood &&= explored.found === null
}
for (const [name, { rules, what }] of Object.entries(seeded)) {
  const explored = explore(rules, seededWorld)
  tell(`seeded fault ${name} (${what})`, explored)
  isGood &&= explored.found !== null
}
process.exitCode = isGood ? 0 : 1
