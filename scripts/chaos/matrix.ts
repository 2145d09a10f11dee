import { crashPointProcesses } from '../../src/main/crash-point-list.ts'
import type { Case, Points } from './points.ts'
import type { Session } from './session.ts'

/** Ways to work, and which points each passes: learned from a round in which nothing is killed. */
export type Ways = Readonly<Record<string, () => Promise<void>>>
export type Passes = ReadonlyMap<string, ReadonlySet<string>>

export type Progress = {
  covered: Set<string>
  /** Work that did not end as it should, though nothing but processes died. */
  unexpected: string[]
}

type Matrix = { session: Session; points: Points; ways: Ways; say: (line: string) => void }

/** Each way once, nobody killed: what is passed meanwhile belongs to it. */
export async function learn(
  { session, points, ways, say }: Matrix,
  progress: Progress,
): Promise<Passes> {
  const passes = new Map<string, ReadonlySet<string>>()
  for (const [name, work] of Object.entries(ways)) {
    const before = counts(points)
    await attempt({ session, name, work }, progress)
    const own = [...points.passed()].flatMap(([process, passed]) =>
      passed.slice(before.get(process) ?? 0),
    )
    passes.set(name, new Set(own))
    say(`${name}: passes ${new Set(own).size} points`)
  }
  return passes
}

function counts(points: Points): ReadonlyMap<string, number> {
  return new Map([...points.passed()].map(([process, passed]) => [process, passed.length]))
}

/** At most this many deaths of one process in one piece of work: each waits for the one before it. */
const mostAtOnce = 4

/** What to arm next: the way with the most open cases, and a share of them. Null when no way has any. */
export function choose(
  cases: readonly Case[],
  passes: Passes,
  covered: ReadonlySet<string>,
): { way: string; armed: readonly Case[] } | null {
  let best: { way: string; armed: readonly Case[] } | null = null
  for (const [way, passed] of passes) {
    const open = cases.filter(({ entry, point }) => passed.has(point) && !covered.has(entry))
    const armed = crashPointProcesses.flatMap((process) =>
      open.filter(({ victim }) => victim === process).slice(0, mostAtOnce),
    )
    if (armed.length > (best?.armed.length ?? 0)) best = { way, armed }
  }
  return best
}

/** Goes through the cases until all are covered or `over` says stop. */
export async function runMatrix(
  matrix: Matrix & { cases: readonly Case[]; passes: Passes; over: () => boolean },
  progress: Progress,
): Promise<void> {
  const { session, points, ways, cases, passes, over, say } = matrix
  const tried = new Map<string, number>()
  while (!over()) {
    const open = cases.filter(({ entry }) => (tried.get(entry) ?? 0) < 3)
    const next = choose(open, passes, progress.covered)
    const work = next === null ? undefined : ways[next.way]
    if (next === null || work === undefined) return
    points.arm(next.armed)
    await attempt({ session, name: next.way, work }, progress)
    for (const { entry } of next.armed) tried.set(entry, (tried.get(entry) ?? 0) + 1)
    const fired = points.disarm(next.armed)
    for (const { entry } of fired) progress.covered.add(entry)
    say(
      `${next.way}: ${fired.length} of ${next.armed.length} died; ${progress.covered.size} covered`,
    )
    await session.allReady()
  }
}

export async function attempt(
  { session, name, work }: { session: Session; name: string; work: () => Promise<void> },
  progress: Progress,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    progress.unexpected.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    await session.allReady()
  }
}
