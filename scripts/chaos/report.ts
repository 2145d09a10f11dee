import { cpus } from 'node:os'
import type { Verdict } from './checker/verdict.ts'
import type { Counted } from './load.ts'
import type { Progress } from './matrix.ts'
import { otherCases, ownCases, type Case } from './points.ts'
import type { Stage } from './stage.ts'

/** What a run prints: figures, and each promise with its verdict. */
export function documentOf(run: {
  minutes: number
  /** From the first death to the last: more than `minutes` when own points were left. */
  disturbedMinutes: number
  progress: Progress
  counted: Counted
  kills: Readonly<Record<string, number>>
  promises: readonly Verdict[]
  stage: Pick<Stage, 'docker' | 'builds' | 'temporal' | 'store'>
  /** The machine's load averages over one minute, while it ran. */
  loads: readonly number[]
}) {
  const { minutes, disturbedMinutes, progress, counted, kills, promises, stage, loads } = run
  const broken = promises.filter(({ verdict }) => verdict !== 'held')
  const crashPoints = coverage(ownCases, progress.covered)
  return {
    version: 1,
    held: broken.length === 0 && progress.unexpected.length === 0,
    complete: crashPoints.missing.length === 0,
    minutes,
    disturbedMinutes,
    machine: { cpus: cpus().length, node: process.version, load: spread(loads) },
    requests: { sent: counted.sent, answered: counted.ok, failed: counted.failed },
    kills: { atPoints: killsAtPoints(progress), atRandom: kills },
    drops: {
      engines: counts([...stage.docker.dropped, ...stage.builds.dropped].map(withoutIds)),
      store: counts(stage.store.dropped.map(kindOfObject)),
      temporalBytes: stage.temporal.swallowed(),
    },
    crashPoints,
    crashPointsWhileAnotherDies: coverage(otherCases, progress.covered),
    promises,
    unexpected: progress.unexpected,
  }
}

/** 0 when every promise held, all work could be done, and every process died at each of its points. */
export function exitCodeOf({ held, complete }: ReturnType<typeof documentOf>): 0 | 1 {
  return held && complete ? 0 : 1
}

function spread(loads: readonly number[]) {
  const sum = loads.reduce((total, one) => total + one, 0)
  return {
    least: Math.min(...loads),
    mean: Math.round(sum / loads.length),
    most: Math.max(...loads),
  }
}

function coverage(cases: readonly Case[], covered: ReadonlySet<string>) {
  const missing = cases.filter(({ entry }) => !covered.has(entry)).map(({ entry }) => entry)
  return { total: cases.length, covered: cases.length - missing.length, missing }
}

function killsAtPoints({ covered }: Progress): Record<string, number> {
  const died = [...ownCases, ...otherCases].filter(({ entry }) => covered.has(entry))
  return counts(died.map(({ victim }) => victim))
}

function counts(names: readonly string[]): Record<string, number> {
  const counted: Record<string, number> = {}
  for (const name of names) counted[name] = (counted[name] ?? 0) + 1
  return counted
}

/** `POST /v1.40/containers/<id>/start` is one kind of request, whichever container. */
function withoutIds(request: string): string {
  return request
    .replace(/\/v[\d.]+\//, '/')
    .replace(/\/(containers|images|networks)\/(?!create)[^/]+/, '/$1/…')
}

/** `PUT /kiln/<prefix>/tile/entries/…` is one kind of request, whichever tile. */
function kindOfObject(request: string): string {
  const [method, path = ''] = request.split(' ')
  const [, , , kind = ''] = path.split('/')
  return `${method} ${kind}`
}
