import { createHash } from 'node:crypto'

/** What a build makes in the engine carries its id under this label. */
export const buildLabel = 'kiln.build'

export const baseRepository = 'kiln/base'
export const fetchRepository = 'kiln/fetch'

/** Where the engine pushes what it built: one name for each build, however often it is tried. */
export function captureName(build: string): string {
  return `kiln/capture/b${createHash('sha256').update(build).digest('hex').slice(0, 24)}`
}

/** The tag that keeps the engine's cached steps of an app until the next build of it. */
export function cacheTag(app: string): string {
  return `kiln-cache/${app}:current`
}
