import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { KilnError } from '../domain/error.ts'

export type FreeSpace = { folder: string; free: number }

/** Bytes that a user without privileges may still write in the folder, or in the nearest one that exists. */
export async function freeBytes(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (!absent || dirname(folder) === folder) throw error
    return freeBytes(dirname(folder))
  }
}

/** What is wrong when one of the folders has less than `minimum` bytes free; undefined when none has. */
export async function lowDisk(
  folders: readonly string[],
  minimum: number,
): Promise<KilnError | undefined> {
  for (const folder of new Set(folders)) {
    const free = await freeBytes(folder)
    if (free < minimum) return shortage({ folder, free }, minimum)
  }
  return undefined
}

function shortage({ folder, free }: FreeSpace, minimum: number): KilnError {
  const missing = inWords(minimum - free)
  return new KilnError(
    'low_disk',
    `${inWords(free)} are free at ${folder}, ${missing} less than the ${inWords(minimum)} that work begins with`,
    {
      place: folder,
      fix: `free ${missing}: kiln prune, then docker image prune; or move KILN_HOME to a larger disk`,
    },
  )
}

/** Bytes as people read them, rounded up so that freeing as much is enough. */
export function inWords(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const
  let at = 0
  let amount = bytes
  for (; amount >= 1024 && at < units.length - 1; at++) amount /= 1024
  return `${Math.ceil(amount * 10) / 10} ${units[at]}`
}
