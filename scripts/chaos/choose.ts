import { crashPointProcesses, type CrashPointProcess } from '../../src/main/crash-point-list.ts'
import type { Case } from './points.ts'

/** What a way was learned to be: the points that it passes, and how long it takes when nobody dies. */
export type Learned = { passes: ReadonlySet<string>; ms: number }
export type Passes = ReadonlyMap<string, Learned>

/** A case that is not covered; `missed`: how often each way was taken for it, and nobody died. */
export type Open = Case & { missed?: ReadonlyMap<string, number> }

export type Choice = { way: string; armed: readonly Open[] }

/**
 * At most so many deaths of a process in one piece of work: each waits for the one before it. They are as
 * the points are: the server has half of them, takes longest to start again, and everybody waits for it. So
 * each piece has many of its deaths, and those of the others happen in their shadow. The signer, which starts
 * again soonest, passes three points itself, and dies at all those of the others.
 */
const mostAtOnce: Readonly<Record<CrashPointProcess, number>> = {
  server: 7,
  build: 4,
  host: 4,
  signer: 5,
}

/** Fewer are not worth a piece of work of their own. */
const leastShare = 3

/** What a death costs, beside the work itself: a process starts again. */
const deathMs = 5000

/**
 * What to arm next: the way that reaches most for its time, where a point counts the more the fewer ways
 * pass it, and the less the more often this way was taken for it in vain. Of the last open cases each of the lanes has its share: a single lane would die of all of them in
 * turn. Null when no way passes an open case.
 */
export function choose(open: readonly Open[], passes: Passes, lanes: number): Choice | null {
  const rarity = rarities(passes)
  const worthIn =
    (way: string) =>
    ({ point, missed }: Open): number =>
      (rarity.get(point) ?? 0) / (1 + (missed?.get(way) ?? 0))
  const most = (process: CrashPointProcess) => {
    const left = open.filter(({ victim }) => victim === process).length
    return Math.min(mostAtOnce[process], Math.max(leastShare, Math.ceil(left / lanes)))
  }
  let best: (Choice & { score: number }) | null = null
  for (const [way, learned] of passes) {
    const worthOf = worthIn(way)
    const passed = open
      .filter(({ point }) => learned.passes.has(point))
      .toSorted((a, b) => worthOf(b) - worthOf(a))
    const armed = crashPointProcesses.flatMap((process) =>
      passed.filter(({ victim }) => victim === process).slice(0, most(process)),
    )
    const worth = armed.reduce((sum, one) => sum + worthOf(one), 0)
    const score = worth / (learned.ms + armed.length * deathMs)
    if (armed.length > 0 && score > (best?.score ?? 0)) best = { way, armed, score }
  }
  return best === null ? null : { way: best.way, armed: best.armed }
}

/** The pieces of work that are chosen one after the other when everything that is armed happens. */
export function planned(cases: readonly Case[], passes: Passes, lanes: number): readonly Choice[] {
  const pieces: Choice[] = []
  let open = cases
  for (;;) {
    const next = choose(open, passes, lanes)
    if (next === null) return pieces
    pieces.push(next)
    open = open.filter((one) => !next.armed.includes(one))
  }
}

/** 1 for a point that one way alone passes, 1/n for one that n ways pass. */
function rarities(passes: Passes): ReadonlyMap<string, number> {
  const ways = new Map<string, number>()
  for (const learned of passes.values())
    for (const point of learned.passes) ways.set(point, (ways.get(point) ?? 0) + 1)
  return new Map([...ways].map(([point, count]) => [point, 1 / count]))
}
