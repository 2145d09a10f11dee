import { join } from 'node:path'
import { KilnError } from '../domain/error.ts'
import { lockFolder } from '../store/folder-lock.ts'
import type { Config } from './config.ts'

/**
 * Held by a collection while it removes, and by a backup while it copies what a collection might remove;
 * freed by the death of whoever holds it. Other machines with the same bucket are not kept out: collections bear
 * each other, and a backup that misses an object fails and is made again. Throws `already_running`.
 */
export async function lockCollections({ store, paths }: Config): Promise<{ release: () => void }> {
  const folder = join(store.kind === 'folder' ? store.root : paths.work, 'gc')
  try {
    return await lockFolder(folder)
  } catch (error) {
    if (!(error instanceof KilnError) || error.code !== 'already_running') throw error
    throw new KilnError('already_running', 'kiln gc or kiln backup is at work on this store', {
      cause: error,
      place: folder,
      fix: 'wait until it has ended, then try again',
    })
  }
}
