import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import {
  crashPointProcesses,
  declaredCrashPoints,
  otherCrashPoints,
  type CrashPointProcess,
} from '../../src/main/crash-point-list.ts'
import type { Journal } from './journal.ts'

/** A case of the matrix: at `point`, which `reaches` passes, `victim` dies. */
export type Case = {
  entry: string
  point: string
  reaches: CrashPointProcess
  victim: CrashPointProcess
}

/** Every point, and the process that passes it dies there. */
export const ownCases: readonly Case[] = crashPointProcesses.flatMap((reaches) =>
  declaredCrashPoints[reaches].map((point) => ({ entry: point, point, reaches, victim: reaches })),
)

/** Every point, and another process dies when it is reached. */
export const otherCases: readonly Case[] = ownCases.flatMap(({ point, reaches }) =>
  crashPointProcesses
    .filter((victim) => victim !== reaches)
    .map((victim) => ({ entry: `${point}@${victim}`, point, reaches, victim })),
)

/** What the processes' environment says of the cases; `record` is a folder for the points they pass. */
export function settingsOf(cases: readonly Case[], record: string): Record<string, string> {
  const at = cases.map(({ entry }) => entry).join(',')
  return { KILN_CRASH_AT: at, KILN_CRASH_RECORD: record }
}

/** The crash points of one Kiln, all disarmed at first: which are armed, which were reached. */
export function openPoints(
  home: string,
  { cases, record, journal }: { cases: readonly Case[]; record: string; journal: Journal },
) {
  const run = join(home, 'run')
  const marker = (entry: string) => join(run, `crashed-${entry}`)
  mkdirSync(run, { recursive: true })
  for (const { entry } of cases) writeFileSync(marker(entry), 'disarmed')
  return {
    arm(armed: readonly Case[]) {
      for (const { entry } of armed) rmSync(marker(entry), { force: true })
    },
    /** Takes back what did not happen; answers with what did, and writes down when. */
    disarm(armed: readonly Case[]): Case[] {
      const fired = armed.filter(({ entry }) => existsSync(marker(entry)))
      for (const { entry, victim } of fired) {
        const at = statSync(marker(entry)).mtimeMs
        journal.disturbed({ at, until: at, what: 'kill', target: victim, containers: [] })
      }
      for (const { entry } of armed) writeFileSync(marker(entry), 'disarmed')
      return fired
    },
    /** Every point that each process has passed so far. */
    passed: () => readPassed(record),
  }
}
export type Points = ReturnType<typeof openPoints>

function readPassed(folder: string): ReadonlyMap<string, readonly string[]> {
  const files = existsSync(folder) ? readdirSync(folder) : []
  return new Map(
    files.map((file) => [
      file.replace(/\.txt$/, ''),
      readFileSync(join(folder, file), 'utf8')
        .split('\n')
        .filter((line) => line !== ''),
    ]),
  )
}

/** How the recorded points differ from the declared ones; empty when they do not. */
export function differences(passed: ReadonlyMap<string, readonly string[]>): string[] {
  return crashPointProcesses.flatMap((process) => {
    const declared = new Set(declaredCrashPoints[process])
    const seen = new Set(passed.get(process) ?? [])
    return [
      ...[...declared]
        .filter((point) => !seen.has(point))
        .map((point) => `${process} never passed ${point}`),
      ...[...seen]
        .filter((point) => !declared.has(point) && !otherCrashPoints.includes(point))
        .map((point) => `${process} passed ${point}, which is not declared`),
    ]
  })
}
