import { expect, test } from 'vitest'
import { choose, type Passes } from '../../scripts/chaos/choose.ts'
import type { Case } from '../../scripts/chaos/points.ts'
import type { CrashPointProcess } from '../../src/main/crash-point-list.ts'

function cases(victim: CrashPointProcess, points: readonly string[]): Case[] {
  return points.map((point) => ({ entry: point, point, reaches: victim, victim }))
}

const all = ['a', 'b', 'c', 'd', 'e', 'f']

function ways(
  passes: Readonly<Record<string, readonly [ms: number, points: readonly string[]]>>,
): Passes {
  return new Map(
    Object.entries(passes).map(([way, [ms, points]]) => [way, { ms, passes: new Set(points) }]),
  )
}

test('nothing is chosen when no way passes what is open', () => {
  expect(choose(cases('server', ['z']), ways({ deliver: [1000, all] }))).toBeNull()
  expect(choose([], ways({ deliver: [1000, all] }))).toBeNull()
})

test('of two ways that pass the same the shorter one is chosen', () => {
  const open = cases('server', all)
  expect(choose(open, ways({ deliver: [30_000, all], promote: [2000, all] }))?.way).toBe('promote')
})

test('a point that one way alone passes comes before those that all pass', () => {
  const passes = ways({
    promote: [5000, ['a', 'b']],
    release: [5000, ['a', 'c']],
    scale: [5000, ['a', 'b']],
  })
  expect(choose(cases('host', ['a', 'b', 'c']), passes)).toMatchObject({
    way: 'release',
    armed: [{ entry: 'c' }, { entry: 'a' }],
  })
})

test('one piece of work sees few deaths of one process, and some of each', () => {
  const open = [...cases('server', all), ...cases('signer', ['s'])]
  const armed = choose(open, ways({ deliver: [1000, [...all, 's']] }))?.armed ?? []
  expect(armed.filter(({ victim }) => victim === 'server')).toHaveLength(4)
  expect(armed.filter(({ victim }) => victim === 'signer')).toHaveLength(1)
})
