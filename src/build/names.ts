import { createHash } from 'node:crypto'

/** Whose builds these are, and which one. Several Kilns may build the same commit in one engine. */
export type BuildOwner = { builder: string; build: string }

/** What a build makes in the engine says so, and is found and removed by all of it. */
export function labelsOfBuild({ builder, build }: BuildOwner): Record<string, string> {
  return { 'kiln.build': build, 'kiln.builder': builder }
}

/** The engine's filter for what this build made, and nothing of another Kiln's. */
export function madeByBuild(owner: BuildOwner): string {
  const label = Object.entries(labelsOfBuild(owner)).map(([name, value]) => `${name}=${value}`)
  return JSON.stringify({ label })
}

/** What all builds of one builder have in common. */
export function labelOfBuilder(builder: string): string {
  return `kiln.builder=${builder}`
}

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
