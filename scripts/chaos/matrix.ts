import { setTimeout as delay } from 'node:timers/promises'
import { choose, type Choice, type Learned, type Open, type Passes } from './choose.ts'
import type { Case, Points } from './points.ts'

/** Ways to work by name, the same names for every app. */
export type Ways = Readonly<Record<string, () => Promise<void>>>

export type Progress = {
  covered: Set<string>
  /** Work that did not end as it should, though nothing but processes died. */
  unexpected: string[]
}

type Say = (line: string) => void

/** Each way once, nobody killed: what is passed meanwhile belongs to it. */
export async function learn(
  { points, ways, say }: { points: Points; ways: Ways; say: Say },
  progress: Progress,
): Promise<Passes> {
  const passes = new Map<string, Learned>()
  for (const [name, work] of Object.entries(ways)) {
    const before = counts(points)
    const began = Date.now()
    await attempt({ name, work }, progress)
    const own = [...points.passed()].flatMap(([process, passed]) =>
      passed.slice(before.get(process) ?? 0),
    )
    passes.set(name, { passes: new Set(own), ms: Date.now() - began })
    say(`${name}: passes ${new Set(own).size} points`)
  }
  return passes
}

function counts(points: Points): ReadonlyMap<string, number> {
  return new Map([...points.passed()].map(([process, passed]) => [process, passed.length]))
}

/** A case that was armed so often and never happened waits until the other cases had their turn. */
const mostTries = 8
const idleMs = 200

type Matrix = {
  points: Points
  /** One for each app; all work at once. */
  lanes: readonly Ways[]
  passes: Passes
  cases: readonly Case[]
  over: () => boolean
  say: Say
}

/**
 * The groups one after the other, and again what was put off in each, until all is covered, no way reaches
 * what is left, or `over` says stop.
 */
export async function runRounds(
  matrix: Omit<Matrix, 'cases'>,
  groups: readonly (readonly Case[])[],
  progress: Progress,
): Promise<void> {
  for (let pieces = 1; pieces > 0 && !matrix.over();) {
    pieces = 0
    for (const cases of groups) pieces += await runMatrix({ ...matrix, cases }, progress)
  }
}

/**
 * Goes through the cases, those that did not happen again with the others that are open, until all are
 * covered, those that are left were armed in vain too often, or `over` says stop. Answers with how many
 * pieces of work were done.
 */
export async function runMatrix(matrix: Matrix, progress: Progress): Promise<number> {
  const table = openTable(matrix, progress)
  const lanes = matrix.lanes.map((ways) => runLane({ ways, table }, matrix, progress))
  return (await Promise.all(lanes)).reduce((sum, pieces) => sum + pieces, 0)
}

async function runLane(
  { ways, table }: { ways: Ways; table: Table },
  { over, say }: Matrix,
  progress: Progress,
): Promise<number> {
  let pieces = 0
  while (!over()) {
    const next = table.take()
    if (next === 'later') {
      await delay(idleMs)
      continue
    }
    const work = next === null ? undefined : ways[next.way]
    if (next === null || work === undefined) break
    const began = Date.now()
    await attempt({ name: next.way, work }, progress)
    const fired = table.giveBack(next)
    pieces++
    const seconds = ((Date.now() - began) / 1000).toFixed(0)
    say(
      `${next.way}: ${fired} of ${next.armed.length} died in ${seconds} s; ${progress.covered.size} covered`,
    )
  }
  return pieces
}

type Table = ReturnType<typeof openTable>

/** Which cases are open, armed by whom, and put off: no two lanes arm the same. */
function openTable({ points, passes, cases, lanes }: Matrix, progress: Progress) {
  /** By entry, then by way: how often it was armed, and nobody died. */
  const missed = new Map<string, ReadonlyMap<string, number>>()
  const armed = new Set<string>()
  const isOpen = ({ entry }: Case): boolean => {
    const tries = [...(missed.get(entry)?.values() ?? [])].reduce((sum, n) => sum + n, 0)
    return !progress.covered.has(entry) && tries < mostTries
  }
  return {
    /** `later`: what is left is armed by others. Null when nothing is left. */
    take(): Choice | 'later' | null {
      const open = cases
        .filter(isOpen)
        .map((one): Open => ({ ...one, missed: missed.get(one.entry) ?? new Map() }))
      const next = choose(
        open.filter(({ entry }) => !armed.has(entry)),
        passes,
        lanes.length,
      )
      if (next === null) return open.some(({ entry }) => armed.has(entry)) ? 'later' : null
      for (const { entry } of next.armed) armed.add(entry)
      points.arm(next.armed)
      return next
    },
    /** Takes back what did not happen; answers with how much did. */
    giveBack(done: Choice): number {
      const fired = points.disarm(done.armed)
      for (const { entry } of fired) progress.covered.add(entry)
      for (const { entry } of done.armed) {
        armed.delete(entry)
        const before = missed.get(entry) ?? new Map<string, number>()
        if (!progress.covered.has(entry))
          missed.set(entry, new Map([...before, [done.way, (before.get(done.way) ?? 0) + 1]]))
      }
      return fired.length
    },
  }
}

export async function attempt(
  { name, work }: { name: string; work: () => Promise<void> },
  progress: Progress,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    progress.unexpected.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
