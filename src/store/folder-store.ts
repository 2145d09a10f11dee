import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, type Stats } from 'node:fs'
import { open, readFile, readdir, stat, utimes } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { digestOfHex, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { blobKey, type AgedObject, type AgingStore } from './blob-store.ts'
import { openDurableFolder, type DurableFolder } from './disk.ts'
import { diskError, errnoOf } from './disk-error.ts'
import { checkKey, checkPrefix, otherBytes } from './key.ts'

/** The object store as a folder. Several processes may open it; its head has one owner (`lockFolder`). */
export function openFolderStore(input: { root: string; readOnly?: boolean }): AgingStore {
  const root = resolve(input.root)
  const files = openDurableFolder(root)
  const writing = (): void => {
    if (input.readOnly === true) throw new KilnError('forbidden', 'the store is open for reading')
  }

  async function put(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key)
    writing()
    const temporary = await files.write(temporaryName(), [bytes])
    try {
      const path = pathOf(root, key)
      if (await files.publish(temporary, path)) return
      const present = await ifPresent(path, () => readFile(path))
      // A collection removed it in between.
      if (present === undefined && (await files.publish(temporary, path))) return
      if (present?.equals(bytes) !== true) throw otherBytes(key)
    } finally {
      await files.drop(temporary)
    }
  }

  return {
    put,
    get: (key) => read(root, key),
    size: (key) => sizeOf(root, key),
    async putBlob(content, expected) {
      writing()
      return await putBlob({ files, root }, content, expected)
    },
    readBlob: (digest, range) => readBlob(pathOf(root, blobKey(digest)), range),
    list: (prefix) => list(root, prefix),
    entries: (prefix) => agesOf(root, prefix),
    touchedAt: async (key) => (await fileAt(root, key))?.mtimeMs,
    async renew(key) {
      writing()
      const path = pathOf(root, key)
      const now = new Date()
      return (await ifPresent(path, async () => utimes(path, now, now).then(() => true))) ?? false
    },
    async remove(key) {
      writing()
      await files.remove(pathOf(root, key))
    },
  }
}

/** `<pid>-<random>`: the pid lets the folder's owner tell a dead writer's file from one in use. */
export function temporaryName(): string {
  return `${process.pid}-${randomUUID()}`
}

function pathOf(root: string, key: string): string {
  checkKey(key)
  return join(root, key)
}

async function putBlob(
  { files, root }: { files: DurableFolder; root: string },
  content: AsyncIterable<Uint8Array>,
  expected: Digest | undefined,
): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256')
  let size = 0
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      hash.update(chunk)
      size += chunk.length
      yield chunk
    }
  }
  const temporary = await files.write(temporaryName(), hashed())
  try {
    const digest = digestOfHex(hash.digest('hex'))
    if (expected !== undefined && digest !== expected) {
      throw new KilnError('digest_mismatch', `content is ${digest}, expected ${expected}`)
    }
    const key = blobKey(digest)
    const path = pathOf(root, key)
    const first = await files.publish(temporary, path)
    const present = first ? digest : await ifPresent(path, () => digestOfFile(path))
    if (present === undefined && (await files.publish(temporary, path))) return { digest, size }
    if (present !== digest) throw otherBytes(key)
    return { digest, size }
  } finally {
    await files.drop(temporary)
  }
}

async function digestOfFile(path: string): Promise<Digest> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array)
  return digestOfHex(hash.digest('hex'))
}

/** Undefined when the file is absent. */
async function ifPresent<T>(path: string, action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action()
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    throw diskError(error, path)
  }
}

async function read(root: string, key: string): Promise<Uint8Array | undefined> {
  const path = pathOf(root, key)
  return await ifPresent(path, () => readFile(path))
}

async function fileAt(root: string, key: string): Promise<Stats | undefined> {
  const path = pathOf(root, key)
  const found = await ifPresent(path, () => stat(path))
  return found?.isFile() === true ? found : undefined
}

async function sizeOf(root: string, key: string): Promise<number | undefined> {
  return (await fileAt(root, key))?.size
}

async function readBlob(
  path: string,
  range: { start: number; end: number } | undefined,
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const file = await ifPresent(path, () => open(path, 'r'))
  // The stream closes the file, also when its reader stops early.
  return file?.createReadStream(range ?? {})
}

async function* list(root: string, prefix: string): AsyncGenerator<string> {
  checkPrefix(prefix)
  const path = join(root, prefix)
  const entries = (await ifPresent(path, () => readdir(path, { withFileTypes: true }))) ?? []
  for (const entry of entries) {
    if (entry.isDirectory()) yield* list(root, `${prefix}${entry.name}/`)
    else if (entry.isFile()) yield `${prefix}${entry.name}`
  }
}

async function* agesOf(root: string, prefix: string): AsyncGenerator<AgedObject> {
  for await (const key of list(root, prefix)) {
    const found = await fileAt(root, key)
    if (found !== undefined) yield { key, size: found.size, touchedAt: found.mtimeMs }
  }
}
