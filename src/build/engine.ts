import type { Readable } from 'node:stream'
import type { Digest } from '../domain/digest.ts'

/** What an engine is asked to build. */
export type EngineRequest = {
  build: string
  app: string
  /** Manifest of the base image, in the store. */
  base: Digest
  /** Called once, with the reference by which the Dockerfile must name the base. */
  context: (baseReference: string) => Promise<Readable>
  useCache: boolean
  signal: AbortSignal
  /** Takes what the build says, in pieces of any size. */
  onText: (text: string) => void
}

/**
 * Something that runs Dockerfiles without a network. What it built is an image whose manifest's bytes
 * come back and whose layers are in the store; Kiln makes it canonical. Asking for the same build again
 * is fine, whatever an earlier attempt left behind.
 */
export interface BuildEngine {
  /** Throws `build_failed` with the engine's message, an outage, or the signal's reason. */
  build(request: EngineRequest): Promise<Uint8Array>
}

/** What every RUN has in its environment, so that it need not ask the machine. `committedAt`: seconds since 1970. */
export function buildArguments(committedAt: number): Record<string, string> {
  return {
    SOURCE_DATE_EPOCH: String(committedAt),
    TZ: 'UTC',
    LC_ALL: 'C.UTF-8',
    HOME: '/tmp',
    PYTHONDONTWRITEBYTECODE: '1',
    NODE_DISABLE_COMPILE_CACHE: '1',
  }
}
