import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Task tokens of the activities that this process has taken and not ended, one file each: they outlive a
 * kill -9, and the process that follows gives them back at once instead of waiting for Temporal to notice
 * the silence. A hint: not durable against a loss of power, and losing it costs only that wait.
 */
export type InFlight = {
  /** What the process before this one left, base64. */
  left: readonly string[]
  /** Notes a token; the answer forgets it. */
  take: (token: string) => () => void
}

/** Only for the one process that works for this folder: what is in it is taken to be abandoned. */
export function openInFlight(folder: string): InFlight {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const files = readdirSync(folder).map((name) => join(folder, name))
  const left = files.map((file) => readFileSync(file, 'utf8')).filter((token) => token !== '')
  for (const file of files) rmSync(file, { force: true })
  return {
    left,
    take(token) {
      const file = join(folder, randomUUID())
      writeFileSync(file, token)
      return () => rmSync(file, { force: true })
    },
  }
}
