import { appendFileSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Where a build's log ends: what says more than this says nothing of use. */
const maxBytes = 10 * 1024 * 1024

/** Appends each line that a build says to its file, up to a limit. Losing a line fails no build. */
export function buildLog(pathOf: (build: string) => string): (build: string, line: string) => void {
  const sizes = new Map<string, number>()
  return (build, line) => {
    const path = pathOf(build)
    try {
      if (!sizes.has(path)) mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      const size = sizes.get(path) ?? statSync(path, { throwIfNoEntry: false })?.size ?? 0
      if (size >= maxBytes) return
      const bytes = Buffer.from(`${line}\n`)
      const last = size + bytes.length >= maxBytes
      appendFileSync(path, last ? '… the log is full; later lines are not kept\n' : bytes, {
        mode: 0o600,
      })
      sizes.set(path, last ? maxBytes : size + bytes.length)
    } catch {
      // A full disk is reported where something that counts is stored.
    }
  }
}
