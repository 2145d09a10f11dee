import { expect, test } from 'vitest'
import { choose, planned, type Passes } from '../../scripts/chaos/choose.ts'
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
  expect(choose(cases('server', ['z']), ways({ deliver: [1000, all] }), 1)).toBeNull()
  expect(choose([], ways({ deliver: [1000, all] }), 1)).toBeNull()
})

test('of two ways that pass the same the shorter one is chosen', () => {
  const open = cases('server', all)
  const passes = ways({ deliver: [30_000, all], promote: [2000, all] })
  expect(choose(open, passes, 1)?.way).toBe('promote')
})

test('a point that one way alone passes comes before those that all pass', () => {
  const passes = ways({
    promote: [5000, ['a', 'b']],
    release: [5000, ['a', 'c']],
    scale: [5000, ['a', 'b']],
  })
  expect(choose(cases('host', ['a', 'b', 'c']), passes, 1)).toMatchObject({
    way: 'release',
    armed: [{ entry: 'c' }, { entry: 'a' }],
  })
})

const many = Array.from({ length: 30 }, (_, at) => `p${at}`)

test('one piece of work sees few deaths of one process, and some of each', () => {
  const open = [...cases('server', many), ...cases('signer', ['s'])]
  const armed = choose(open, ways({ deliver: [1000, [...many, 's']] }), 1)?.armed ?? []
  expect(armed.filter(({ victim }) => victim === 'server')).toHaveLength(7)
  expect(armed.filter(({ victim }) => victim === 'signer')).toHaveLength(1)
})

test('each lane has its share of the last points: no lane dies of all of them in turn', () => {
  const last = many.slice(0, 12)
  const passes = ways({ refuse: [1000, last] })
  expect(choose(cases('server', last), passes, 3)?.armed).toHaveLength(4)
  expect(choose(cases('server', last.slice(0, 4)), passes, 3)?.armed).toHaveLength(3)
})

const rare = (way: string) => many.map((point) => `${way}.${point}`).slice(0, 6)

test('points that every way passes are not put off until the ones of a single way are through', () => {
  const common = all.map((point) => `common.${point}`)
  const passes = ways({
    deliver: [30_000, [...common, ...rare('deliver')]],
    promote: [5000, [...common, ...rare('promote')]],
    refuse: [1000, [...common, ...rare('refuse')]],
  })
  const open = cases('server', [...new Set([...passes.values()].flatMap((one) => [...one.passes]))])
  const pieces = planned(open, passes, 3)
  expect(pieces.flatMap(({ armed }) => armed).toSorted(byEntry)).toEqual(open.toSorted(byEntry))
  expect(pieces.length).toBeLessThanOrEqual(6)
  expect(pieces[0]?.armed.map(({ entry }) => entry)).toEqual([...rare('refuse'), 'common.a'])
})

function byEntry(a: Case, b: Case): number {
  return a.entry.localeCompare(b.entry)
}
