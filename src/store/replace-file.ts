import { randomUUID } from 'node:crypto'
import { open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { diskError } from './disk-error.ts'

/**
 * Replaces a small file, whole or not at all, durably: once resolved, a loss of power leaves the new
 * content; before that, the old or the new. For what a process remembers of its own; the truth is never
 * replaced. Its owner alone reads it unless `mode` says otherwise. Throws `store_unavailable`.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    const folder = await open(dirname(path), 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw diskError(error, path)
  }
}
