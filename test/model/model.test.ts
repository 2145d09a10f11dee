import { expect, test } from 'vitest'
import { explore } from './explore.ts'
import { realRules, seeded } from './rules.ts'
import { seededWorld, worlds } from './worlds.ts'

test.each(worlds)(
  'no promise breaks in any state: $name',
  (world) => {
    const { found, ...size } = explore(realRules, world)
    process.stdout.write(`model, ${world.name}: ${size.states} states, ${size.atRest} at rest\n`)
    expect(found).toBeNull()
    expect(size.states).toBeGreaterThan(2000)
    expect(size.atRest).toBeGreaterThanOrEqual(30)
  },
  600_000,
)

const faults = Object.entries(seeded).map(([name, one]) => ({ name, ...one }))

/** Which promise each seeded fault breaks first. */
const broken: Readonly<Record<string, string>> = {
  'epoch-not-compared': 'I6',
  'denial-not-subtracted': 'I1',
  'void-key-believed': 'I1',
  'second-change-opens': 'I6',
  'failure-forgotten': 'I1',
  'head-not-compared': 'I2',
  'decision-made-again': 'I4',
  'ended-before-the-outcome': 'I8',
  'denied-left-serving': 'I9',
  'key-of-nothing': 'I1',
}

test.each(faults)(
  'the fault is found: $what',
  ({ name, rules }) => {
    const { found } = explore(rules, seededWorld)
    expect(found?.promise).toBe(broken[name])
    expect(found?.trace.length).toBeGreaterThan(2)
  },
  600_000,
)
