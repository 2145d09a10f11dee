import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from './disk-error.ts'

/** Something in a folder: a file, or a folder with all that is in it. */
export type Kept = { path: string; bytes: number; usedAt: number }

export type Bounds = {
  maxBytes: number
  maxAgeMs: number
  /** What was used within this time is in use: it stays, whatever the bounds say. */
  youngMs: number
}

/** What must go, oldest first: what is too old, then the oldest until the rest is within the bound. Pure. */
export function beyondBounds(entries: readonly Kept[], bounds: Bounds, now: number): Kept[] {
  const oldestFirst = entries.toSorted((a, b) => a.usedAt - b.usedAt)
  let total = oldestFirst.reduce((sum, one) => sum + one.bytes, 0)
  return oldestFirst.filter((one) => {
    const age = now - one.usedAt
    const goes = age > bounds.youngMs && (age > bounds.maxAgeMs || total > bounds.maxBytes)
    if (goes) total -= one.bytes
    return goes
  })
}

/** What a folder holds, `depth` levels down; what goes away meanwhile is left out. */
export async function entriesOf(folder: string, depth = 1): Promise<Kept[]> {
  const names = await readdir(folder).catch(absent)
  const found = await Promise.all(
    (names ?? []).map(async (name) => {
      const path = join(folder, name)
      if (depth > 1) return entriesOf(path, depth - 1)
      const measured = await measure(path)
      return measured === undefined ? [] : [measured]
    }),
  )
  return found.flat()
}

async function measure(path: string): Promise<Kept | undefined> {
  const found = await stat(path).catch(absent)
  if (found === undefined) return undefined
  const below = found.isDirectory() ? await entriesOf(path) : []
  return {
    path,
    bytes: below.reduce((sum, one) => sum + one.bytes, found.isDirectory() ? 0 : found.size),
    usedAt: Math.max(found.mtimeMs, ...below.map((one) => one.usedAt)),
  }
}

function absent(error: unknown): undefined {
  if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined
  throw error
}

export async function removeEntries(entries: readonly Kept[]): Promise<void> {
  for (const { path } of entries) await rm(path, { recursive: true, force: true })
}
