import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { choose, planned, type Passes } from '../../scripts/chaos/choose.ts'
import { openJournal } from '../../scripts/chaos/journal.ts'
import { runMatrix, runRounds, type Progress } from '../../scripts/chaos/matrix.ts'
import { openPoints, otherCases, ownCases, type Case } from '../../scripts/chaos/points.ts'
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

test('a way that was taken in vain comes after one that was not', () => {
  const passes = ways({ promote: [1000, ['a']], scale: [2000, ['a']] })
  const [open] = cases('server', ['a'])
  if (open === undefined) throw new Error('no case')
  expect(choose([open], passes, 1)?.way).toBe('promote')
  expect(choose([{ ...open, missed: new Map([['promote', 1]]) }], passes, 1)?.way).toBe('scale')
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

/**
 * A run over the real points of one Kiln, in which work is no work. `dies` says of a case that is armed and
 * passed by the way whether its process dies there; a death leaves its marker, as in a Kiln.
 */
function matrixOf(passes: Passes, known: readonly Case[], dies: (entry: string) => boolean) {
  const home = mkdtempSync(join(tmpdir(), 'kiln-matrix-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const journal = openJournal(join(home, 'evidence'))
  const points = openPoints(home, { cases: known, record: join(home, 'points'), journal })
  const armed = new Set<string>()
  /** In the order in which they were armed. */
  const tries: string[] = []
  const marker = (entry: string) => join(home, 'run', `crashed-${entry}`)
  const watched = {
    ...points,
    arm(some: readonly Case[]) {
      points.arm(some)
      for (const { entry } of some) armed.add(entry)
      tries.push(...some.map(({ entry }) => entry))
    },
    disarm(some: readonly Case[]) {
      for (const { entry } of some) armed.delete(entry)
      return points.disarm(some)
    },
  }
  const lane = Object.fromEntries(
    [...passes].map(([way, learned]) => [
      way,
      async () => {
        for (const { entry, point } of known)
          if (armed.has(entry) && learned.passes.has(point) && dies(entry))
            writeFileSync(marker(entry), '')
      },
    ]),
  )
  const progress: Progress = { covered: new Set(), unexpected: [] }
  const matrix = { points: watched, lanes: [lane], passes, say: () => undefined }
  return { matrix, progress, tries }
}

/** A run whose time is over after so many looks at the clock. */
function looksAfter(most: number): () => boolean {
  let looks = 0
  return () => looks++ > most
}

test('every own point is covered when what is armed happens', async () => {
  const points = ownCases.map(({ point }) => point)
  const passes = ways({ deliver: [30_000, points.slice(10)], refuse: [1000, points.slice(0, 40)] })
  const { matrix, progress, tries } = matrixOf(passes, ownCases, () => true)
  await runMatrix({ ...matrix, cases: ownCases, over: looksAfter(1000) }, progress)
  expect([...progress.covered].toSorted()).toEqual(points.toSorted())
  expect(tries).toHaveLength(points.length)
})

test('a death that did not come is armed again as long as time is left, the other cases first', async () => {
  const own = cases('build', ['a', 'b'])
  const others = own.map((one): Case => ({
    ...one,
    entry: `${one.point}@server`,
    victim: 'server',
  }))
  const both = [...own, ...others]
  let left = 12
  const { matrix, progress, tries } = matrixOf(
    ways({ deliver: [1000, ['a', 'b']] }),
    both,
    (entry) => (entry === 'a' ? left-- <= 0 : true),
  )
  await runRounds({ ...matrix, over: looksAfter(1000) }, [own, others], progress)
  expect([...progress.covered].toSorted()).toEqual(['a', 'a@server', 'b', 'b@server'])
  const ofA = tries.flatMap((entry, at) => (entry === 'a' ? [at] : []))
  expect(ofA).toHaveLength(13)
  const other = tries.indexOf('a@server')
  expect(ofA.filter((at) => at < other)).toHaveLength(8)
})

test('a death that never comes ends with the time, and is not covered', async () => {
  const own = cases('build', ['a'])
  const { matrix, progress, tries } = matrixOf(ways({ deliver: [1000, ['a']] }), own, () => false)
  await runRounds({ ...matrix, over: looksAfter(100) }, [own], progress)
  expect(progress.covered.size).toBe(0)
  expect(tries.length).toBeGreaterThan(50)
})

test('every point while each of the other processes dies is a case of its own, 4 for each point', () => {
  const every = [...ownCases, ...otherCases]
  expect(new Set(every.map(({ entry }) => entry)).size).toBe(4 * ownCases.length)
  const passes = ways({ deliver: [30_000, ownCases.map(({ point }) => point)] })
  expect(planned(otherCases, passes, 3).flatMap(({ armed }) => armed)).toHaveLength(
    3 * ownCases.length,
  )
})
