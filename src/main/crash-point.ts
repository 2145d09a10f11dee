import { mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Named places where a test ends the process, `kill -9`, once each. `names` comes from the setting
 * KILN_CRASH_AT (comma-separated, empty in production); a marker file keeps a restarted process from
 * dying there again.
 */
export function crashPoints(names: readonly string[], folder: string): (name: string) => void {
  if (names.length === 0) return () => undefined
  return (name) => {
    if (!names.includes(name)) return
    mkdirSync(folder, { recursive: true })
    try {
      openSync(join(folder, `crashed-${name}`), 'wx')
    } catch {
      return // it has died here before
    }
    process.kill(process.pid, 'SIGKILL')
  }
}

/** Calls the point after each activity's work, `<activity>.done`: the answer is lost, the work is not. */
export function crashAfterWork<A extends object>(
  activities: A,
  crashPoint: (name: string) => void,
): A {
  const wrapped = Object.entries(activities).map(([name, run]) => [
    name,
    async (...input: unknown[]) => {
      const result: unknown = await (run as (...input: unknown[]) => Promise<unknown>)(...input)
      crashPoint(`${name}.done`)
      return result
    },
  ])
  return Object.fromEntries(wrapped) as A
}
