import { copyFileSync, renameSync, statSync, truncateSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Logs of supervised processes. A process writes to its file directly, in append mode: it outlives a
 * killed supervisor and never meets a broken pipe.
 */
export type LogLimits = { maxBytes: number; files: number }

export const standardLogs: LogLimits = { maxBytes: 10_000_000, files: 3 }

/** The supervisor's own; absent where something else keeps it, as systemd's journal does. */
export function supervisorLog(logs: string): string {
  return join(logs, 'supervisor.log')
}

/**
 * Moves a log that grew past its limit aside: `x.log` → `x.log.1` → `x.log.2`, `files` in all. The file
 * itself is copied and emptied, since its writer holds it open; what is written between the two is lost.
 */
export function rotateLog(path: string, { maxBytes, files }: LogLimits): boolean {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < maxBytes) return false
  for (let age = files - 2; age >= 1; age -= 1) {
    if (statSync(`${path}.${age}`, { throwIfNoEntry: false })) {
      renameSync(`${path}.${age}`, `${path}.${age + 1}`)
    }
  }
  copyFileSync(path, `${path}.1`)
  truncateSync(path)
  return true
}

/** The last lines written after byte `from`, at most `count`, read from the file's last 64 KiB. */
export async function lastLines(path: string, count: number, from = 0): Promise<readonly string[]> {
  const file = await open(path, 'r').catch(() => undefined)
  if (!file) return []
  try {
    const { size } = await file.stat()
    const start = Math.max(from > size ? 0 : from, size - 65_536)
    const buffer = Buffer.alloc(size - start)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, start)
    const text = buffer.subarray(0, bytesRead).toString('utf8')
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count)
  } finally {
    await file.close()
  }
}
