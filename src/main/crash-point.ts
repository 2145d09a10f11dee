import { appendFileSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'

/** What a test makes of the named places; in production both settings are empty and nothing happens. */
export type CrashSettings = {
  /**
   * KILN_CRASH_AT: `<point>` ends the process that reaches it, `<point>@<process>` ends another one at
   * that moment; each once. Joined by `,`.
   */
  at: readonly string[]
  /** KILN_CRASH_RECORD: folder where each process notes the points that it passes, `<process>.txt`. */
  record: string | undefined
  /** Where the markers are: `crashed-<entry>` keeps an entry from happening (again). */
  folder: string
  /** The process that this is. */
  process: string
  /** Pid of another of Kiln's processes, null when it is not ready now. */
  pidOf: (process: string) => number | null
}

/**
 * Named places where a test ends a process with SIGKILL. A marker file, made before the kill, keeps a
 * restarted process from dying there again; a test arms an entry by removing its marker.
 */
export function crashPoints(settings: CrashSettings): (name: string) => void {
  const { at, record } = settings
  if (at.length === 0 && record === undefined) return () => undefined
  const entries = at.map((entry) => ({ entry, ...parsed(entry) }))
  return (name) => {
    if (record !== undefined) note(record, settings.process, name)
    for (const { entry, point, victim } of entries) {
      if (point !== name) continue
      // Who is dead already cannot die here: the entry waits for the next one who comes by.
      const pid = victim === null ? process.pid : settings.pidOf(victim)
      if (pid !== null && isFirst(settings.folder, entry)) kill(pid)
    }
  }
}

function parsed(entry: string): { point: string; victim: string | null } {
  const [point = '', victim] = entry.split('@')
  return { point, victim: victim ?? null }
}

function note(folder: string, process: string, name: string): void {
  mkdirSync(folder, { recursive: true })
  appendFileSync(join(folder, `${process}.txt`), `${name}\n`)
}

/** Who makes the marker does it; whoever finds one does nothing. */
function isFirst(folder: string, entry: string): boolean {
  mkdirSync(folder, { recursive: true })
  try {
    openSync(join(folder, `crashed-${entry}`), 'wx')
    return true
  } catch {
    return false
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It died in between.
  }
}

/**
 * Points around each activity: `<activity>.start`, when nothing is done, and `<activity>.done`, when the
 * work is done and nobody has heard of it.
 */
export function withCrashPoints<A extends object>(
  activities: A,
  crashPoint: (name: string) => void,
): A {
  const wrapped = Object.entries(activities).map(([name, run]) => [
    name,
    async (...input: unknown[]) => {
      crashPoint(`${name}.start`)
      const result: unknown = await (run as (...input: unknown[]) => Promise<unknown>)(...input)
      crashPoint(`${name}.done`)
      return result
    },
  ])
  return Object.fromEntries(wrapped) as A
}
