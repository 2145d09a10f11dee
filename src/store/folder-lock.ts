import { mkdirSync } from 'node:fs'
import { readdir, unlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { KilnError } from '../domain/error.ts'
import { diskError, errnoOf } from './disk-error.ts'

/**
 * Makes this process the folder's one owner, until `release` or its death: the operating system frees
 * the lock, a kill -9 included, so that nothing stale can be left. Throws `already_running`, and `store_unavailable` where the disk refuses.
 * The owner also removes what dead writers left in `<root>/tmp`.
 */
export async function lockFolder(root: string): Promise<{ release: () => void }> {
  const path = resolve(root)
  const lock = openLock(path)
  await removeStale(join(path, 'tmp'))
  return { release: () => lock.close() }
}

function openLock(path: string): DatabaseSync {
  try {
    mkdirSync(path, { recursive: true })
    return lockFile(join(path, 'owner.lock'))
  } catch (error) {
    throw diskError(error, path)
  }
}

function lockFile(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
    return database
  } catch (error) {
    database.close()
    if (!isBusy(error)) throw error
    throw new KilnError('already_running', 'another process owns this folder', {
      place: path,
      fix: 'kiln status shows what runs here; stop it with kiln down, or set another KILN_HOME',
      cause: error,
    })
  }
}

function isBusy(error: unknown): boolean {
  const sqliteBusy = 5
  return error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy
}

/** Other living processes write here too, so only the files of processes that are gone are removed. */
async function removeStale(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  })
  const stale = names.filter((name) => !isAlive(Number.parseInt(name, 10)))
  await Promise.all(stale.map((name) => unlink(join(folder, name)).catch(() => {})))
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return errnoOf(error) !== 'ESRCH'
  }
}
