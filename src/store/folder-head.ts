import { readFile, readdir, unlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { KilnError } from '../domain/error.ts'
import type { HeadStore } from './blob-store.ts'
import { openDurableFolder } from './disk.ts'
import { diskError, errnoOf } from './disk-error.ts'
import { temporaryName } from './folder-store.ts'

/** How many generations stay: a reader may still be opening one, and people may look back. */
const kept = 16

/**
 * The head as numbered generations, `head/<12 digits>`: the highest is the head. A swap links the next
 * number, which only one writer can. The version is the generation's number.
 */
export function openFolderHead(input: { root: string }): HeadStore {
  const root = resolve(input.root)
  const folder = join(root, 'head')
  const files = openDurableFolder(root)

  async function publish(generation: number, bytes: Uint8Array): Promise<void> {
    const path = join(folder, nameOf(generation))
    const temporary = await files.write(temporaryName(), [bytes])
    try {
      if (await files.publish(temporary, path)) return
      // The same bytes: this swap was made before, and its answer was lost.
      const present = await readGeneration(path)
      if (present?.equals(bytes) !== true) throw lost()
    } finally {
      await files.drop(temporary)
    }
  }

  return {
    ...readFolderHead(input),
    async swap(seen, bytes) {
      const generation = seen === undefined ? 1 : parseVersion(seen) + 1
      const before = await highest(folder)
      if (before !== generation - 1 && before !== generation) throw lost()
      await publish(generation, bytes)
      // Old numbers are removed, so a writer that was asleep could link one that is free again. A number
      // this close to the highest has never been removed.
      if ((await highest(folder)) >= generation + kept) throw lost()
      await prune(folder, generation)
      return { version: String(generation) }
    },
  }
}

/** The head for processes that never swap it. */
export function readFolderHead(input: { root: string }): Pick<HeadStore, 'read'> {
  const folder = join(resolve(input.root), 'head')
  return {
    async read() {
      for (;;) {
        const generation = await highest(folder)
        if (generation === 0) return undefined
        const path = join(folder, nameOf(generation))
        const bytes = await readGeneration(path)
        if (bytes !== undefined) return { bytes, version: String(generation) }
      }
    },
  }
}

/** Undefined when the generation is no longer there. */
async function readGeneration(path: string): Promise<Buffer | undefined> {
  return await readFile(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw diskError(error, path)
  })
}

function nameOf(generation: number): string {
  return String(generation).padStart(12, '0')
}

function parseVersion(version: string): number {
  if (/^[1-9]\d{0,11}$/.test(version)) return Number(version)
  throw new KilnError('invalid_input', `not a head's version: ${JSON.stringify(version)}`)
}

function lost(): KilnError {
  return new KilnError('lost_race', 'another writer moved the head first')
}

async function generations(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return []
    throw diskError(error, folder)
  })
  return names.filter((name) => /^\d{12}$/.test(name)).map(Number)
}

async function highest(folder: string): Promise<number> {
  return Math.max(0, ...(await generations(folder)))
}

async function prune(folder: string, current: number): Promise<void> {
  const old = (await generations(folder)).filter((generation) => generation <= current - kept)
  await Promise.all(
    old.map((generation) => unlink(join(folder, nameOf(generation))).catch(() => {})),
  )
}
