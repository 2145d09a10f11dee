import type { Digest } from '../domain/digest.ts'
import type { DockerClient } from '../docker/client.ts'
import type { RegistryAuth } from '../docker/images.ts'
import type { BlobStore } from '../store/blob-store.ts'

/**
 * The build process's own registry on loopback: the engine pulls base images from it and pushes what it
 * built into it, both of which end in the store that Kiln reads.
 */
export type BuildRegistry = {
  /** `127.0.0.1:<port>`. */
  address: string
  auth: RegistryAuth
  /** Makes a manifest that is in the store pullable from a repository; again is fine. */
  publish(image: { repository: string; manifest: Digest }): Promise<void>
  /** The manifest that was pushed last under this name, once. */
  take(at: { name: string; reference: string }): { digest: Digest; bytes: Uint8Array } | undefined
}

/** What a build may use. */
export type BuildLimits = {
  memoryMb: number
  cpus: number
  /** Processes at once, in the step that fetches dependencies. */
  pids: number
  fetchTimeoutMs: number
  buildTimeoutMs: number
  /** A build that says nothing for so long is ended. */
  silenceMs: number
}

export const defaultBuildLimits: BuildLimits = {
  memoryMb: 2048,
  cpus: 2,
  pids: 512,
  fetchTimeoutMs: 5 * 60_000,
  buildTimeoutMs: 25 * 60_000,
  silenceMs: 10 * 60_000,
}

/** How the activity that runs now is cancelled and how it says that it is alive. */
export type RunningActivity = { signal: AbortSignal; heartbeat: (detail?: string) => void }

export type BuildDependencies = {
  store: BlobStore
  docker: DockerClient
  /** Names this Kiln's builds in the engine, which other Kilns may use too. */
  builder: string
  registry: BuildRegistry
  /**
   * Parses the template's Dockerfile against the allow-list and writes what the engine gets: FROM by this
   * reference, every RUN with these variables. Throws `invalid_dockerfile`.
   */
  renderDockerfile: (
    text: string,
    options: { base: string; args: Readonly<Record<string, string>> },
  ) => string
  /** The machine's own npm settings, used for fetching and never recorded. */
  npm: { registry: string | null; caFile: string | null }
  /** Holds files without names while a build runs. */
  scratchFolder: string
  /** Holds what can be made again. */
  cacheFolder: string
  limits: BuildLimits
  /** Takes each line that a build says. */
  log: (build: string, line: string) => void
  activity: () => RunningActivity
  /** Named places at which tests kill the process. */
  crashPoint?: (name: string) => void
}
