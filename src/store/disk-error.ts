import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { KilnError } from '../domain/error.ts'
import { inWords } from './free-space.ts'

const whatToFree = 'kiln prune, then docker image prune'

const advice: Readonly<Record<string, string>> = {
  ENOSPC: `free space on the disk (${whatToFree}), or move the folder to a larger one; what waits goes on by itself`,
  EDQUOT: `free space in the quota of the user that runs Kiln (${whatToFree}), or raise it`,
  EROFS: 'mount the file system for writing; a disk error may have made it read-only: see dmesg',
  EIO: 'the disk reports errors: see dmesg, and restore the folder from a backup if it is damaged',
  EACCES: 'let the user that runs Kiln read and write the folder',
  EPERM: 'let the user that runs Kiln read and write the folder',
  EMFILE: 'raise the limit of open files (ulimit -n)',
  ENFILE: 'raise the limit of open files of the machine',
}

/** SQLite's result codes for a failed disk. */
const sqliteErrno: Readonly<Record<number, string>> = { 8: 'EROFS', 10: 'EIO', 13: 'ENOSPC' }

export function errnoOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

/**
 * A failed disk as `store_unavailable`: it names the path, how much is free there and what to do.
 * Anything else as it was.
 */
export function diskError(error: unknown, path: string): unknown {
  const code = sqliteCode(error) ?? errnoOf(error)
  const fix = code === undefined ? undefined : advice[code]
  if (fix === undefined) return error
  return new KilnError('store_unavailable', `the disk refuses (${code})${free(path)}: ${path}`, {
    cause: error,
    place: path,
    fix,
  })
}

function sqliteCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  // The low byte is the kind, the rest says where in SQLite.
  return typeof code === 'number' ? sqliteErrno[code & 0xff] : undefined
}

/** A disk may be full with bytes left: of names for files (inodes). Empty where the disk does not answer. */
function free(path: string): string {
  try {
    const { bavail, bsize, files, ffree } = statfsSync(path)
    const names = files > 0 && ffree === 0 ? ' and no inode' : ''
    return `, ${inWords(bavail * bsize)}${names} free`
  } catch (error) {
    const above = dirname(path)
    return errnoOf(error) === 'ENOENT' && above !== path ? free(above) : ''
  }
}
