import { execa } from 'execa'
import { cp, mkdir, readdir, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { KilnError } from '../../src/domain/error.ts'
import type { BlobStore } from '../../src/store/blob-store.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { checkLock } from '../../src/template/check-template.ts'
import { runCommand } from '../../src/template/command.ts'
import { lockTemplate } from '../../src/template/lock-template.ts'
import type { TemplateRoom } from '../../src/template/template-room.ts'

const root = join(import.meta.dirname, '..', '..')
const source = join(root, 'templates')
const cache = join(root, '.cache', 'test-templates')

export type TestTemplates = {
  /**
   * Copies of the repository's templates. Those named are locked on this machine; another may be half
   * way, since another file's tests may lock it at this moment.
   */
  folder: string
  names: readonly string[]
  /** Holds every locked input and image. Shared by all tests: never delete from it. */
  store: BlobStore
  storeRoot: string
  room: TemplateRoom
}

/** In the order in which they are locked: a base before what stands on it. */
const common = ['debian-base', 'node-service', 'static-site']
const forKiln = ['debian-kiln', 'kiln']

/**
 * debian-base and the templates on it, locked once on this machine, as authoring does: mirrors drop old
 * versions, so the committed locks may name packages that nobody has any more. The first call takes
 * about a minute and a network; parallel workers wait for it.
 */
export function testTemplates(): Promise<TestTemplates> {
  return locked(cache, common)
}

/**
 * With the templates of Kiln's own image, which take another minute the first time. They have a store of
 * their own, since they are most of its bytes and one test needs them: other Kilns copy and back up less.
 */
export async function testTemplatesWithKiln(): Promise<TestTemplates> {
  const { folder, storeRoot } = await testTemplates()
  const own = `${cache}-kiln`
  if ((await stat(join(own, 'store')).catch(() => undefined)) === undefined) {
    await mkdir(own, { recursive: true })
    // Stored objects never change, so that the two share them by hard links.
    await execa('cp', ['-al', storeRoot, join(own, 'store.new')])
    await rename(join(own, 'store.new'), join(own, 'store'))
  }
  for (const name of common)
    await cp(join(folder, name), join(own, 'templates', name), { recursive: true })
  return locked(own, [...common, ...forKiln])
}

async function locked(place: string, names: readonly string[]): Promise<TestTemplates> {
  const room = testRoom(join(place, 'templates'), join(place, 'store'))
  const lock = await waitForFolder(place)
  try {
    await copyTemplates(room.templatesFolder)
    for (const name of names) {
      if (await isLocked(room, name)) continue
      process.stderr.write(`locking the template ${name} on this machine first (once)\n`)
      await lockTemplate(room, name)
    }
  } finally {
    lock.release()
  }
  return {
    folder: room.templatesFolder,
    names,
    store: room.store,
    storeRoot: join(place, 'store'),
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

/** Copies what differs from the repository's templates, their locks aside. */
async function copyTemplates(target: string): Promise<void> {
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
  }
}

async function isLocked(room: TemplateRoom, name: string): Promise<boolean> {
  try {
    await checkLock(room, name)
    return true
  } catch (error) {
    if (error instanceof KilnError) return false
    throw error
  }
}
