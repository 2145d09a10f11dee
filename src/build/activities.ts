import type { BuildImageInput, BuildImageResult } from './build-image.ts'
import { buildImage } from './build-image.ts'
import type { CompareArtifactsInput } from './compare-artifacts.ts'
import { compareArtifacts } from './compare-artifacts.ts'
import { createDockerEngine } from './docker-engine.ts'
import type { FetchDependenciesInput, FetchDependenciesResult } from './fetch-dependencies.ts'
import { fetchDependencies } from './fetch-dependencies.ts'
import type { BuildDependencies } from './ports.ts'

export type BuildActivities = ReturnType<typeof buildActivities>

/** Locked inputs become a canonical artifact. Digests go in and out, never content; each may run twice. */
export function buildActivities(deps: BuildDependencies) {
  const engine = createDockerEngine(deps)
  return {
    fetchDependencies(input: FetchDependenciesInput): Promise<FetchDependenciesResult> {
      return alive(deps, (signal) => fetchDependencies(deps, input, signal))
    },
    buildImage(input: BuildImageInput): Promise<BuildImageResult> {
      return alive(deps, (signal) => buildImage({ ...deps, engine }, input, signal))
    },
    compareArtifacts(input: CompareArtifactsInput): Promise<void> {
      return compareArtifacts(deps, input)
    },
  }
}

const heartbeatMs = 2000

/** Says that the activity is alive while it works: also through a step that says nothing for minutes. */
async function alive<T>(
  { activity }: BuildDependencies,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal, heartbeat } = activity()
  heartbeat()
  const timer = setInterval(() => heartbeat(), heartbeatMs)
  try {
    return await work(signal)
  } finally {
    clearInterval(timer)
  }
}
