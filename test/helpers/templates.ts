import { cp, mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { KilnError } from '../../src/domain/error.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { checkTemplate } from '../../src/template/check-template.ts'
import { runCommand } from '../../src/template/command.ts'
import { lockTemplate } from '../../src/template/lock-template.ts'
import type { TemplateRoom } from '../../src/template/template-room.ts'

const root = join(import.meta.dirname, '..', '..')
const source = join(root, 'templates')
const cache = join(root, '.cache', 'test-templates')

export type TestTemplates = {
  /** Copies of the repository's templates, locked on this machine. */
  folder: string
  /** Holds every locked input and image. Shared by all tests: never delete from it. */
  store: BlobStore
  storeRoot: string
  room: TemplateRoom
}

/**
 * debian-base and node-service, locked once on this machine, as authoring does: mirrors drop old
 * versions, so the committed locks may name packages that nobody has any more. The first call takes
 * about a minute and a network; parallel workers wait for it.
 */
export async function testTemplates(): Promise<TestTemplates> {
  const room = testRoom(join(cache, 'templates'), join(cache, 'store'))
  const lock = await waitForFolder(cache)
  try {
    const changed = await copyTemplates(room.templatesFolder)
    if (changed || !(await isLocked(room))) {
      process.stderr.write('locking the templates on this machine first (once)\n')
      await lockTemplate(room, 'debian-base')
      await lockTemplate(room, 'node-service')
    }
  } finally {
    lock.release()
  }
  return {
    folder: room.templatesFolder,
    store: room.store,
    storeRoot: join(cache, 'store'),
    room,
  }
}

/** The template room on real parts, over a folder store. */
export function testRoom(templatesFolder: string, storeRoot: string): TemplateRoom {
  return {
    templatesFolder,
    store: openFolderStore({ root: storeRoot }),
    scratch: join(cache, 'work'),
    run: runCommand,
    aptSources: null,
    snapshot: null,
    onProgress: (line) => process.stderr.write(`${line}\n`),
  }
}

async function waitForFolder(folder: string): Promise<{ release: () => void }> {
  for (;;) {
    try {
      return await lockFolder(folder)
    } catch (error) {
      if (!(error instanceof KilnError) || error.code !== 'already_running') throw error
      await pause(100)
    }
  }
}

/** Copies what differs from the repository's templates, their locks aside; true when anything did. */
async function copyTemplates(target: string): Promise<boolean> {
  let changed = false
  const entries = await readdir(source, { recursive: true, withFileTypes: true })
  for (const entry of entries) {
    if (!entry.isFile() || entry.name === 'template.lock') continue
    const from = join(entry.parentPath, entry.name)
    const to = join(target, from.slice(source.length))
    const wanted = await readFile(from)
    const present = await readFile(to).catch(() => undefined)
    if (present?.equals(wanted) === true) continue
    await mkdir(join(to, '..'), { recursive: true })
    await cp(from, to)
    changed = true
  }
  return changed
}

async function isLocked(room: TemplateRoom): Promise<boolean> {
  try {
    await checkTemplate(room, 'node-service')
    return true
  } catch (error) {
    if (error instanceof KilnError) return false
    throw error
  }
}
