import { existsSync, statfsSync } from 'node:fs'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  rename,
  rm,
  statfs,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { KilnError } from '../domain/error.ts'
import { errnoOf } from '../store/disk-error.ts'

/** File systems that live in memory alone, by the magic numbers of statfs(2): tmpfs and ramfs. */
const inMemory: readonly number[] = [0x01021994, 0x858458f6]

/**
 * The values that instances of this host were given: a folder for each instance, in memory, which the
 * instance sees read-only as /run/secrets. Nothing else holds them.
 */
export type SecretFiles = {
  /**
   * Writes an instance's values for `user` (`uid` or `uid:gid`, as the image says) and answers with the
   * folder to mount. Whole or not at all; what an earlier attempt left is replaced. Throws
   * `secret_unavailable` where the folder is not in memory or not this user's alone.
   */
  place(given: Given): Promise<string>
  /** The instance's folder; null when there is none. */
  find(instance: string): Promise<string | null>
  /** Removes what these instances were given; that there is nothing is fine. */
  remove(instances: readonly string[]): Promise<void>
  /** Removes what no living instance has: of names beginning with `prefix`, all that `keep` does not name. */
  removeOthers(prefix: string, keep: readonly string[]): Promise<void>
}

export type Given = { instance: string; values: ReadonlyMap<string, Uint8Array>; user: string }

/** `/run` where it is in memory, as on every machine with systemd, else `/dev/shm`. */
export function memoryFolder(candidates: readonly string[] = ['/run', '/dev/shm']): string {
  const found = candidates.find((one) => existsSync(one) && isInMemory(statfsSync(one).type))
  return found ?? candidates[0] ?? '/run'
}

function isInMemory(type: number): boolean {
  return inMemory.includes(type >>> 0)
}

/** `folder` is made on first use, below one that is in memory. */
export function openSecretFiles(folder: string): SecretFiles {
  const at = (instance: string) => join(folder, instance)
  const remove = (name: string) => rm(at(name), { recursive: true, force: true })
  return {
    async place({ instance, values, user }) {
      await ensureFolder(folder)
      const unfinished = at(`${instance}.new`)
      await remove(`${instance}.new`)
      await mkdir(unfinished, { mode: 0o700 })
      for (const [name, value] of values) {
        await writeFile(join(unfinished, name), value, { flag: 'wx', mode: 0o400 })
      }
      await handOver(unfinished, [...values.keys()], Number(user.split(':')[0]))
      await remove(instance)
      await rename(unfinished, at(instance))
      return at(instance)
    },
    async find(instance) {
      const found = await lstat(at(instance)).catch(ignoreMissing)
      return found?.isDirectory() === true ? at(instance) : null
    },
    async remove(instances) {
      for (const name of instances) await remove(name)
    },
    async removeOthers(prefix, keep) {
      const there = (await readdir(folder).catch(ignoreMissing)) ?? []
      for (const name of there) {
        if (name.startsWith(prefix) && !keep.includes(name)) await remove(name)
      }
    },
  }
}

function ignoreMissing(error: unknown): undefined {
  if (errnoOf(error) === 'ENOENT') return undefined
  throw error
}

/** Whoever may write in the folder above might have been there first. */
async function ensureFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const found = await lstat(folder)
  const own = found.uid === (process.getuid?.() ?? 0)
  if (!found.isDirectory() || !own || (found.mode & 0o077) !== 0) {
    throw new KilnError('secret_unavailable', `${folder} is not this user's alone`, {
      place: folder,
      fix: `see who made it, then remove it: rm -r ${folder}`,
    })
  }
  const { type } = await statfs(folder)
  if (isInMemory(type)) return
  throw new KilnError('secret_unavailable', `${folder} is on a disk; secrets stay in memory`, {
    place: folder,
    fix: 'set KILN_SECRETS_MEMORY to a folder on a tmpfs, for example /dev/shm',
  })
}

/**
 * Gives the files to the instance's user alone. Only root can; where Kiln is another user the files are
 * readable to all, in a folder that only this user and the engine can enter.
 */
async function handOver(folder: string, names: readonly string[], uid: number): Promise<void> {
  const own = process.getuid?.() ?? 0
  for (const path of [...names.map((name) => join(folder, name)), folder]) {
    if (own === 0) await chown(path, uid, 0)
    else if (own !== uid) await chmod(path, path === folder ? 0o755 : 0o444)
  }
}
