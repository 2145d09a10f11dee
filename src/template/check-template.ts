import { digestOf, digestOfJson } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import { compareInputs, compareLock, requireNone } from './compare-lock.ts'
import { containerInputs, debianInputs } from './image-inputs.ts'
import { recallImages, recallInputs, type ImageInputs, type Images } from './images.ts'
import { parseLock, type ContainerLock, type DebianLock, type Lock } from './lock-file.ts'
import { containerImages, debianImages } from './make-images.ts'
import { obtainPackages, obtainTools } from './obtain.ts'
import { keep, readLockText, readTemplate, type TemplateFolder } from './read-template.ts'
import type { TemplateRoom } from './template-room.ts'

/** A template whose lock holds, with what other templates and builds need of it. */
export type CheckedLock =
  | { kind: 'debian'; name: string; lock: Digest; image: Digest; epoch: number }
  | { kind: 'container'; template: CheckedTemplate }

/**
 * What a build starts from. Every input is compared with template.lock, what the store lacks is
 * brought back or made again from locked inputs, and nothing is taken that the lock does not name.
 * Throws `lock_missing`, `lock_mismatch` (names the input, what the lock says, what was found),
 * `input_unavailable`, `not_reproducible`.
 */
export async function checkTemplate(room: TemplateRoom, name: string): Promise<CheckedTemplate> {
  const checked = await checkLock(room, name)
  if (checked.kind === 'container') return checked.template
  throw new KilnError('invalid_input', `${name} is a base for templates: no app is built from it`, {
    fix: 'name a template of kind container in kiln.yaml, for example node-service',
  })
}

/** As `checkTemplate`, for templates of every kind. */
export async function checkLock(room: TemplateRoom, name: string): Promise<CheckedLock> {
  const folder = await readTemplate(room.templatesFolder, name)
  const text = await readLockText(room.templatesFolder, name)
  if (text === undefined) {
    throw new KilnError('lock_missing', `${name} has no template.lock`, {
      fix: `kiln template lock ${name}`,
    })
  }
  const lock = parseOwnLock(name, text)
  const digest = digestOf(Buffer.from(text))
  if (folder.kind === 'debian') return await checkDebian(room, folder, { lock, digest })
  return await checkContainer(room, folder, { lock, digest })
}

function parseOwnLock(name: string, text: string): Lock {
  try {
    return parseLock(text)
  } catch (error) {
    if (!(error instanceof KilnError)) throw error
    const { cause, lines, place = 'template.lock' } = error
    throw new KilnError(error.code, `${name}: ${error.message}`, {
      cause,
      lines,
      place,
      fix: `kiln template lock ${name}`,
    })
  }
}

type Locked = { lock: Lock; digest: Digest }

async function checkDebian(
  room: TemplateRoom,
  folder: Extract<TemplateFolder, { kind: 'debian' }>,
  { digest, lock }: Locked,
): Promise<CheckedLock> {
  const { name, template } = folder
  requireNone(name, compareLock(lock, folder, null))
  const { epoch, images, packages, suite } = lock as DebianLock
  const locked: Images = { ...images, fetch: null }
  await requireInputs(room, { name, lock, locked }, debianInputs(template, { epoch, packages }))
  await obtainPackages(room, { name, packages, suite })
  requireSame(name, locked, await debianImages(room, { name, template, epoch, packages }))
  return { kind: 'debian', name, lock: digest, image: images.base, epoch }
}

async function checkContainer(
  room: TemplateRoom,
  folder: Extract<TemplateFolder, { kind: 'container' }>,
  { digest, lock }: Locked,
): Promise<CheckedLock> {
  const { dockerfile, files, name, template } = folder
  const base = await checkBase(room, folder)
  requireNone(name, compareLock(lock, folder, base))
  const { images, tools, wheels = [] } = lock as ContainerLock
  const parts = { base: base.image, epoch: base.epoch, tools, wheels }
  await requireInputs(room, { name, lock, locked: images }, containerInputs(template, parts))
  await obtainTools(room, { name, tools, wheels })
  requireSame(name, images, await containerImages(room, { name, template, ...parts }))
  await keep(room.store, dockerfile)
  if (files !== null) await keep(room.store, files)
  return {
    kind: 'container',
    template: {
      name,
      lock: digest,
      base: { name: base.name, lock: base.lock },
      dockerfile: dockerfile.digest,
      files: files?.digest ?? null,
      images,
      dependencies: template.dependencies,
    },
  }
}

/** The base's own check. Its kind is asked first: a template that stands on itself would be checked for ever. */
export async function checkBase(
  room: TemplateRoom,
  { name, template }: Extract<TemplateFolder, { kind: 'container' }>,
): Promise<Extract<CheckedLock, { kind: 'debian' }>> {
  const { kind } = await readTemplate(room.templatesFolder, template.base)
  const base = kind === 'debian' ? await checkLock(room, template.base) : undefined
  if (base?.kind === 'debian') return base
  throw new KilnError('invalid_input', `${name}: its base ${template.base} is no Debian template`, {
    place: 'template.yaml',
  })
}

/** The lock agrees with itself, and with what this store knows its images to be made of. */
async function requireInputs(
  { store }: TemplateRoom,
  { lock, locked, name }: { name: string; lock: Lock; locked: Images },
  inputs: ImageInputs,
): Promise<void> {
  const found = digestOfJson(inputs)
  if (found !== lock.inputs) {
    const recorded = await recallInputs(store, locked)
    if (recorded !== undefined) requireNone(name, compareInputs(inputs, recorded))
    requireNone(name, [{ input: 'the list of inputs', locked: lock.inputs, found }])
  }
  const made = await recallImages(store, inputs)
  if (made === undefined) return
  requireNone(name, compareInputs(textOf(locked), textOf(made)))
}

function textOf({ base, fetch }: Images): ImageInputs {
  return { 'the base image': base, 'the fetch image': fetch ?? 'nothing' }
}

function requireSame(name: string, locked: Images, made: Images): void {
  if (made.base === locked.base && made.fetch === locked.fetch) return
  throw new KilnError(
    'not_reproducible',
    `${name}: the locked inputs made ${made.base}, the lock says ${locked.base}`,
    { place: 'template.lock', fix: `kiln template lock ${name}` },
  )
}
