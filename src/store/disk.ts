import { link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { diskError, errnoOf } from './disk-error.ts'
import { sharedRun } from './shared-run.ts'

/** Makes a name in a folder durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/**
 * Files that appear whole or not at all, and stay: written aside in `<root>/tmp`, synced, then linked
 * to their final name (`link` never replaces), then the folder synced.
 */
export type DurableFolder = {
  /** A temporary file that holds the content, synced. The caller links and drops it. */
  write(name: string, content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string>
  /** Gives the temporary file its final name, durably; false when that name is taken (then it is made durable). */
  publish(temporary: string, path: string): Promise<boolean>
  drop(temporary: string): Promise<void>
  /** Removes a published file, durably; one that is not there is no error. */
  remove(path: string): Promise<void>
}

export function openDurableFolder(root: string): DurableFolder {
  const made = new Set<string>()
  const sync = sharedSync()

  /** Also syncs the folders above: another process may have made them and not come to it. */
  async function ensureFolder(path: string): Promise<void> {
    if (made.has(path)) return
    await mkdir(path, { recursive: true })
    const above = dirname(path)
    if (path !== root) await ensureFolder(above)
    await sync(above)
    made.add(path)
  }

  return {
    async write(name, content) {
      const path = join(root, 'tmp', name)
      try {
        await ensureFolder(dirname(path))
        return await writeSynced(path, content)
      } catch (error) {
        made.clear()
        await unlink(path).catch(() => {})
        throw diskError(error, path)
      }
    },
    async publish(temporary, path) {
      try {
        await ensureFolder(dirname(path))
        const first = await link(temporary, path).then(
          () => true,
          (error: unknown) => {
            if (errnoOf(error) === 'EEXIST') return false
            throw error
          },
        )
        await sync(dirname(path))
        return first
      } catch (error) {
        made.clear()
        throw diskError(error, path)
      }
    },
    async drop(temporary) {
      await unlink(temporary).catch(() => {})
    },
    async remove(path) {
      try {
        await unlink(path)
        await sync(dirname(path))
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw diskError(error, path)
      }
    },
  }
}

async function writeSynced(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<string> {
  const file = await open(path, 'wx', 0o644)
  try {
    for await (const chunk of content) await file.writeFile(chunk)
    await file.sync()
  } finally {
    await file.close()
  }
  return path
}

/** Syncs folders, many waiters by one call: each waits for a sync that began after its link was made. */
function sharedSync(): (path: string) => Promise<void> {
  const folders = new Map<string, () => Promise<void>>()
  return async (path) => {
    const sync = folders.get(path) ?? sharedRun(() => syncFolder(path))
    folders.set(path, sync)
    await sync()
  }
}
