import { cpus, loadavg, totalmem } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { appends, appendsOnS3 } from './appends.ts'
import { clearAway, startBenchKiln, type BenchKiln } from './bench-kiln.ts'
import { changes } from './changes.ts'
import { commitToSealed } from './commit-to-sealed.ts'
import { buildUnchanged, memoryAfterBuilds } from './builds.ts'
import { chosen, isMet, rounded, type Figure, type Part } from './figure.ts'
import { drift } from './drift.ts'
import { evidence } from './evidence.ts'
import { help } from './help.ts'
import { logSize } from './log-size.ts'
import { memory, memoryAfterWork } from './memory.ts'
import { requests } from './requests.ts'
import { restore } from './restore.ts'
import { revocation } from './revoke.ts'
import { say } from './timed.ts'
import { verification } from './verify.ts'

/**
 * Measures Kiln on real parts and prints one JSON document on standard output; docs/benchmarks.md says
 * what each figure means.
 *
 *   npm run bench -- [--only NAME,NAME] [--strict]
 *
 * Exit code 0 when everything could be measured, 1 when something could not (or, with --strict, when a
 * goal was missed), 2 for wrong arguments.
 */

type Measured = { figures: Figure[]; failures: string[] }

/** Started when the first part needs it; the same for all. */
function lazily<T>(make: () => Promise<T>): { get: () => Promise<T>; started: () => boolean } {
  let made: Promise<T> | undefined
  return { get: () => (made ??= make()), started: () => made !== undefined }
}

const kiln = lazily<BenchKiln>(startBenchKiln)
// The server's memory is asked for before anything has happened, and again at the end.
const parts: readonly Part[] = [
  help,
  appends,
  appendsOnS3,
  logSize,
  memory(kiln.get),
  commitToSealed(kiln.get),
  buildUnchanged(kiln.get),
  changes(kiln.get),
  requests(kiln.get),
  drift(kiln.get),
  evidence(kiln.get),
  verification(kiln.get),
  revocation(kiln.get),
  memoryAfterWork(kiln.get),
  memoryAfterBuilds(kiln.get),
  // Last: it takes away all that the others made.
  restore(kiln.get),
]

async function measure(wanted: readonly Part[]): Promise<Measured> {
  const measured: Measured = { figures: [], failures: [] }
  for (const part of wanted) {
    const what = part.names.join(', ')
    say(`measuring ${what}`)
    try {
      const figures = await within(part.limitS, part.measure())
      measured.figures.push(...figures)
      for (const figure of figures) say(`  ${lineOf(figure)}`)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      measured.failures.push(`${what}: ${why}`)
      say(`  could not be measured: ${why}`)
    }
  }
  return measured
}

async function within<T>(seconds: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController()
  const late = pause(seconds * 1000, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`not done within ${seconds} s`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    timer.abort()
    late.catch(() => undefined)
  }
}

function lineOf(figure: Figure): string {
  const { name, value, unit, baseline, goal } = figure
  const beside = baseline === undefined ? '' : `, ${baseline.name}: ${baseline.value}`
  const wanted = goal === undefined ? '' : `, goal ${JSON.stringify(goal)}`
  const missed = isMet(figure) === false ? '  MISSED' : ''
  return `${name.padEnd(44)} ${String(value).padStart(7)} ${unit}${beside}${wanted}${missed}`
}

function documentOf(figures: readonly Figure[]): string {
  const machine = {
    cpus: cpus().length,
    memoryMb: Math.round(totalmem() / 1e6),
    node: process.version,
    load: loadavg().map(rounded),
  }
  const told = figures.map((figure) => {
    const { name, value, unit, baseline, goal, samples } = figure
    // What is undefined is left out.
    return { name, value, unit, baseline, goal, met: isMet(figure), samples }
  })
  return `${JSON.stringify({ version: 1, machine, figures: told }, null, 2)}\n`
}

function readArguments(argv: string[]): { wanted: readonly Part[]; strict: boolean } {
  const { values } = parseArgs({
    args: argv,
    options: { only: { type: 'string' }, strict: { type: 'boolean', default: false } },
  })
  const only = (values.only ?? '').split(',').filter((name) => name !== '')
  const known = parts.flatMap(({ names }) => names)
  const unknown = only.filter((name) => !known.includes(name))
  if (unknown.length > 0)
    throw new Error(`--only does not know ${unknown.join(', ')}; there are: ${known.join(', ')}`)
  return { wanted: chosen(parts, only), strict: values.strict }
}

async function bench(): Promise<number> {
  let asked: ReturnType<typeof readArguments>
  try {
    asked = readArguments(process.argv.slice(2))
  } catch (error) {
    say(error instanceof Error ? error.message : String(error))
    return 2
  }
  const { figures, failures } = await measure(asked.wanted)
  if (kiln.started()) await clearAway().catch((error: unknown) => failures.push(String(error)))
  process.stdout.write(documentOf(figures))
  if (failures.length > 0) return 1
  return asked.strict && figures.some((figure) => isMet(figure) === false) ? 1 : 0
}

process.exitCode = await bench()
