import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { Principal } from '../domain/statement.ts'
import { errnoOf } from '../store/disk-error.ts'
import { replaceFile } from '../store/replace-file.ts'
import { tailFrom } from './operation-ids.ts'

/** A repository that somebody wants to be watched. */
export type WantedWatch = {
  repository: string
  branches: readonly string[]
  principal: Principal
  /** When it was asked for; another time is another watch. */
  since: string
}

export const watchFileForm = z.strictObject({
  version: z.literal(1),
  watches: z.array(
    z.strictObject({
      repository: z.string().min(1),
      branches: z.array(z.string().min(1)).min(1),
      principal: z.strictObject({ name: z.string().min(1), kind: z.enum(['token', 'kiln']) }),
      since: z.iso.datetime(),
    }),
  ),
})

export function watchIdOf(repository: string): string {
  return `watch.${tailFrom(repository)}`
}

/**
 * Which repositories are watched. Temporal only works on it: what Temporal lost is started again from here.
 * Undefined: nobody wrote it yet. Throws `prerequisite_missing` for a file that says something else.
 */
export async function readWatchFile(path: string): Promise<readonly WantedWatch[] | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
  const parsed = watchFileForm.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data.watches
  throw new KilnError('prerequisite_missing', 'the list of watched repositories cannot be read', {
    place: path,
    fix: `mv ${path} ${path}.damaged: what is watched now is written down again; kiln watch list`,
  })
}

export function writeWatchFile(path: string, watches: readonly WantedWatch[]): Promise<void> {
  return replaceFile(path, `${JSON.stringify({ version: 1, watches }, null, 2)}\n`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
