import { execa } from 'execa'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import { blobKey } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { runCommand, type Run } from '../../src/template/command.ts'
import {
  parseLock,
  renderLock,
  type ContainerLock,
  type DebianLock,
  type LockedPackage,
} from '../../src/template/lock-file.ts'
import type { TemplateRoom } from '../../src/template/template-room.ts'
import { testTemplates, type TestTemplates } from '../helpers/templates.ts'

export type OwnRoom = TemplateRoom & { root: string }

/** Locked templates for the tests of one file, and rooms with copies of them; removed after the last test. */
export function templateRooms() {
  let locked: TestTemplates
  let scratch: string
  beforeAll(async () => {
    locked = await testTemplates()
    // Beside the cache, so that files can be linked instead of copied.
    scratch = await mkdtemp(join(locked.storeRoot, '..', 'rooms-'))
  }, 600_000)
  afterAll(async () => {
    await rm(scratch, { recursive: true, force: true })
  })
  return {
    locked: () => locked,
    /** Linked copy of the store, copy of the templates, programs by `run`. */
    async own(run: Run): Promise<OwnRoom> {
      const root = await mkdtemp(join(scratch, 'room-'))
      await execa('cp', ['-al', locked.storeRoot, join(root, 'store')])
      await cp(locked.folder, join(root, 'templates'), { recursive: true })
      return {
        root,
        templatesFolder: join(root, 'templates'),
        store: openFolderStore({ root: join(root, 'store') }),
        scratch: join(root, 'work'),
        run,
        aptSources: null,
        snapshot: null,
        onProgress: () => {},
      }
    },
  }
}

/** Fails the test when anything is run at all. */
export const nothing: Run = (command) => {
  throw new Error(`${command.file} was run`)
}

/** Programs as on this machine, but for those named. */
export function without(...files: string[]): Run {
  return async (command) => {
    const named = [command.file, ...command.arguments].find((word) => files.includes(word))
    if (named !== undefined) throw new Error(`${named} was run`)
    return await runCommand(command)
  }
}

export async function readLock<L>(room: TemplateRoom, name: string): Promise<L> {
  const path = join(room.templatesFolder, name, 'template.lock')
  return parseLock(await readFile(path, 'utf8')) as L
}

export async function editLock<L extends DebianLock | ContainerLock>(
  room: TemplateRoom,
  name: string,
  edit: (lock: L) => L,
): Promise<void> {
  const path = join(room.templatesFolder, name, 'template.lock')
  await writeFile(path, renderLock(edit(await readLock<L>(room, name))))
}

export async function drop(room: OwnRoom, digest: Digest): Promise<void> {
  await rm(join(room.root, 'store', blobKey(digest)))
}

/** A mirror on disk that has these packages and no others. */
export async function ownMirror(
  room: OwnRoom,
  packages: readonly LockedPackage[],
  change: (bytes: Buffer) => Buffer = (bytes) => bytes,
): Promise<string> {
  const root = join(room.root, 'mirror')
  const index = join(root, 'dists', 'bookworm', 'main', 'binary-amd64')
  await mkdir(join(root, 'pool'), { recursive: true })
  await mkdir(index, { recursive: true })
  for (const { name, sha256 } of packages) {
    const bytes = await readFile(join(room.root, 'store', blobKey(sha256)))
    await writeFile(join(root, 'pool', `${name}.deb`), change(bytes))
  }
  const listing = await execa('apt-ftparchive', ['packages', 'pool'], { cwd: root })
  await writeFile(join(index, 'Packages'), `${listing.stdout}\n`)
  const release = await execa(
    'apt-ftparchive',
    [
      ...['Codename', 'Suite'].flatMap((field) => [
        '-o',
        `APT::FTPArchive::Release::${field}=bookworm`,
      ]),
      '-o',
      'APT::FTPArchive::Release::Components=main',
      '-o',
      'APT::FTPArchive::Release::Architectures=amd64',
      'release',
      'dists/bookworm',
    ],
    { cwd: root },
  )
  await writeFile(join(root, 'dists', 'bookworm', 'Release'), `${release.stdout}\n`)
  return `deb [trusted=yes] copy:${root} bookworm main\n`
}

export async function packageNamed(room: TemplateRoom, name: string): Promise<LockedPackage> {
  const lock = await readLock<DebianLock>(room, 'debian-base')
  const found = lock.packages.find((locked_) => locked_.name === name)
  if (found === undefined) throw new Error(`${name} is not locked`)
  return found
}

export async function append(room: TemplateRoom, file: string, text: string): Promise<void> {
  const path = join(room.templatesFolder, file)
  await writeFile(path, `${await readFile(path, 'utf8')}${text}`)
}
