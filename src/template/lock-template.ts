import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, digestOfJson } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { withAptRoot } from './apt-root.ts'
import { checkBase } from './check-template.ts'
import { containerInputs, debianInputs, foundation, toolsOf } from './image-inputs.ts'
import {
  parseLock,
  renderLock,
  type ContainerLock,
  type DebianLock,
  type LockedTool,
  type LockedWheel,
} from './lock-file.ts'
import { containerImages, debianImages, newestDate } from './make-images.ts'
import { downloadNpmPackage } from './npm-package.ts'
import { downloadWheel } from './pypi-package.ts'
import { missingFrom } from './obtain.ts'
import {
  keep,
  readLockText,
  readTemplate,
  templateRoot,
  type TemplateFolder,
} from './read-template.ts'
import type { TemplateRoom } from './template-room.ts'

/**
 * Resolves a template's inputs, keeps each in the store, makes its images and writes template.lock.
 * A container template needs its base locked before. Locking again with nothing new changes nothing.
 * Throws `input_unavailable` when a mirror or registry lacks something.
 */
export async function lockTemplate(
  room: TemplateRoom,
  name: string,
): Promise<{ lock: Digest; changed: boolean }> {
  const folder = await readTemplate(room.templatesFolder, name)
  const before = await readLockText(room.templatesFolder, name)
  const lock =
    folder.kind === 'debian'
      ? await lockDebian(room, folder)
      : await lockContainer(room, folder, containerBefore(before))
  const text = renderLock(lock)
  if (text !== before)
    await replaceFile(join(templateRoot(room.templatesFolder, name), 'template.lock'), text)
  return { lock: digestOf(Buffer.from(text)), changed: text !== before }
}

async function lockDebian(
  room: TemplateRoom,
  { digest, name, template }: Extract<TemplateFolder, { kind: 'debian' }>,
): Promise<DebianLock> {
  const wanted = [...foundation, ...template.packages]
  const { aptSources, ...rest } = room
  room.onProgress(`${name}: resolving packages`)
  const packages = await withAptRoot(
    { ...rest, sources: aptSources, suite: template.suite },
    async (apt) => {
      const resolved = await apt.resolve(wanted)
      const missing = await missingFrom(room.store, resolved)
      if (missing.length > 0) {
        room.onProgress(`${name}: downloading ${missing.length} packages`)
        await apt.download(wanted, missing)
      }
      return resolved
    },
  )
  const epoch = await newestDate(room, packages)
  const images = await debianImages(room, { name, template, epoch, packages })
  return {
    version: 1,
    kind: 'debian',
    template: digest,
    architecture: template.architecture,
    suite: template.suite,
    epoch,
    packages,
    inputs: digestOfJson(debianInputs(template, { epoch, packages })),
    images: { base: images.base },
  }
}

async function lockContainer(
  room: TemplateRoom,
  folder: Extract<TemplateFolder, { kind: 'container' }>,
  before: Before,
): Promise<ContainerLock> {
  const { digest, dockerfile, files, name, template } = folder
  const base = await checkBase(room, folder)
  const tools: LockedTool[] = []
  for (const { tool } of toolsOf(template)) tools.push(await lockTool(room, tool, before.tools))
  const wheels: LockedWheel[] = []
  for (const wheel of template.wheels ?? [])
    wheels.push(await lockWheel(room, wheel, before.wheels))
  const parts = { base: base.image, epoch: base.epoch, tools, wheels }
  const images = await containerImages(room, { name, template, ...parts })
  await keep(room.store, dockerfile)
  if (files !== null) await keep(room.store, files)
  return {
    version: 1,
    kind: 'container',
    template: digest,
    architecture: template.architecture,
    base: { name: template.base, lock: base.lock, image: base.image },
    tools,
    ...(wheels.length === 0 ? {} : { wheels }),
    dockerfile: dockerfile.digest,
    files: files?.digest ?? null,
    inputs: digestOfJson(containerInputs(template, parts)),
    images,
  }
}

/** An exact version never changes: what an earlier lock named and the store holds is not fetched again. */
async function lockTool(
  room: TemplateRoom,
  wanted: { npm: string; version: string },
  before: readonly LockedTool[],
): Promise<LockedTool> {
  const known = before.find(({ npm, version }) => npm === wanted.npm && version === wanted.version)
  if (known !== undefined && (await missingFrom(room.store, [known])).length === 0) return known
  room.onProgress(`downloading ${wanted.npm}@${wanted.version}`)
  return await downloadNpmPackage(room, wanted)
}

/** As `lockTool`: a version on Python's index may have several files, and the first choice stays. */
async function lockWheel(
  room: TemplateRoom,
  wanted: { pypi: string; version: string },
  before: readonly LockedWheel[],
): Promise<LockedWheel> {
  const known = before.find(
    ({ pypi, version }) => pypi === wanted.pypi && version === wanted.version,
  )
  if (known !== undefined && (await missingFrom(room.store, [known])).length === 0) return known
  room.onProgress(`downloading ${wanted.pypi}==${wanted.version}`)
  return await downloadWheel(room, wanted)
}

type Before = { tools: readonly LockedTool[]; wheels: readonly LockedWheel[] }

const nothingBefore: Before = { tools: [], wheels: [] }

function containerBefore(text: string | undefined): Before {
  if (text === undefined) return nothingBefore
  try {
    const lock = parseLock(text)
    return lock.kind === 'container'
      ? { tools: lock.tools, wheels: lock.wheels ?? [] }
      : nothingBefore
  } catch (error) {
    // A lock that cannot be read is what locking anew is for.
    if (error instanceof KilnError) return nothingBefore
    throw error
  }
}

/** The file is the old one or the new one, whatever happens in between. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`
  try {
    const file = await open(temporary, 'wx', 0o644)
    await file.writeFile(text)
    await file.sync()
    await file.close()
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}
