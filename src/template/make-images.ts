import type { Digest } from '../domain/digest.ts'
import { containerInputs, debianInputs, toolsOf } from './image-inputs.ts'
import {
  hasImage,
  layersOf,
  publishImage,
  recallImages,
  remember,
  type ImageInputs,
  type Images,
  type Layer,
} from './images.ts'
import type { LockedPackage, LockedTool, LockedWheel } from './lock-file.ts'
import { buildRootFileSystem } from './root-file-system.ts'
import type { TemplateRoom } from './template-room.ts'
import type { ContainerTemplate, DebianTemplate } from './template-file.ts'
import { buildToolLayer } from './tool-layer.ts'
import { buildWheelLayer } from './wheel-layer.ts'

export type DebianParts = {
  name: string
  template: DebianTemplate
  epoch: number
  packages: readonly LockedPackage[]
}

export type ContainerParts = {
  name: string
  template: ContainerTemplate
  /** Image of the base template. */
  base: Digest
  epoch: number
  tools: readonly LockedTool[]
  wheels: readonly LockedWheel[]
}

/** The images of these stored inputs: as this store remembers them, else made now, from the store alone. */
export async function debianImages(room: TemplateRoom, parts: DebianParts): Promise<Images> {
  return await recallOrMake(room, debianInputs(parts.template, parts), async () => {
    room.onProgress(
      `${parts.name}: building the root file system of ${parts.packages.length} packages`,
    )
    const layer = await buildRootFileSystem(room, { ...parts.template, ...parts })
    const layers = [{ ...layer, createdBy: `kiln: Debian ${parts.template.suite}` }]
    return { base: await publishImage(room.store, { layers, epoch: parts.epoch }), fetch: null }
  })
}

/** As `debianImages`, for a template on a base. */
export async function containerImages(room: TemplateRoom, parts: ContainerParts): Promise<Images> {
  return await recallOrMake(room, containerInputs(parts.template, parts), async () => {
    room.onProgress(`${parts.name}: building its images`)
    const { epoch } = parts
    const below = await layersOf(room.store, parts.base)
    const placed = await toolLayers(room, parts)
    const inBase = [...below, ...placed.filter(({ stage }) => stage === 'base')]
    const inFetch = [...inBase, ...placed.filter(({ stage }) => stage === 'fetch')]
    return {
      base: await publishImage(room.store, { layers: inBase, epoch }),
      fetch:
        parts.template.dependencies === 'none'
          ? null
          : await publishImage(room.store, { layers: inFetch, epoch }),
    }
  })
}

async function toolLayers(
  { store }: TemplateRoom,
  { epoch, template, tools, wheels }: ContainerParts,
): Promise<(Layer & { stage: 'base' | 'fetch' })[]> {
  const layers: (Layer & { stage: 'base' | 'fetch' })[] = []
  for (const [index, { stage, tool }] of toolsOf(template).entries()) {
    const locked = tools[index]
    if (locked === undefined) throw new TypeError(`no locked entry for the tool ${tool.npm}`)
    const layer = await buildToolLayer(store, { tool, locked, epoch })
    layers.push({ ...layer, createdBy: `kiln: npm ${tool.npm}@${tool.version}`, stage })
  }
  for (const [index, wheel] of (template.wheels ?? []).entries()) {
    const locked = wheels[index]
    if (locked === undefined) throw new TypeError(`no locked entry for the wheel ${wheel.pypi}`)
    const layer = await buildWheelLayer(store, { wheel, locked, epoch })
    const createdBy = `kiln: wheel ${wheel.pypi}==${wheel.version}`
    layers.push({ ...layer, createdBy, stage: 'base' })
  }
  return layers
}

async function recallOrMake(
  { store }: TemplateRoom,
  inputs: ImageInputs,
  make: () => Promise<Images>,
): Promise<Images> {
  const before = await recallImages(store, inputs)
  if (before !== undefined && (await haveImages(store, before))) return before
  const images = await make()
  await remember(store, { images, inputs })
  return images
}

async function haveImages(store: TemplateRoom['store'], images: Images): Promise<boolean> {
  const wanted = [images.base, ...(images.fetch === null ? [] : [images.fetch])]
  return (await Promise.all(wanted.map((image) => hasImage(store, image)))).every(Boolean)
}

/** Seconds since 1970: the newest time that a package's own archive header gives. */
export async function newestDate(
  { store }: TemplateRoom,
  packages: readonly LockedPackage[],
): Promise<number> {
  const dates = await Promise.all(
    packages.map(async ({ sha256 }) => {
      const content = await store.readBlob(sha256, { start: 0, end: 59 })
      const chunks: Uint8Array[] = []
      for await (const chunk of content ?? []) chunks.push(chunk)
      return dateOfArchive(Buffer.concat(chunks).toString('latin1'))
    }),
  )
  return Math.max(...dates)
}

/** ar(5): an 8-byte mark, then the first member's 16-byte name and its 12-byte date. */
function dateOfArchive(header: string): number {
  const date = header.slice(24, 36).trim()
  if (!header.startsWith('!<arch>\n') || !/^\d{1,11}$/.test(date)) {
    throw new TypeError('a stored Debian package is no ar archive')
  }
  return Number(date)
}
