import Dockerode from 'dockerode'
import { KilnError } from '../domain/error.ts'

export type DockerClient = Dockerode

/**
 * A client of the engine at `socketPath`. It has no time limit of its own: dockerode's `timeout` makes
 * `wait()` never settle, so callers pass an `abortSignal` instead.
 */
export function createDocker({ socketPath }: { socketPath: string }): DockerClient {
  return new Dockerode({ socketPath })
}

/** What the system says when nobody answers at the socket, or when the engine goes away in mid-answer. */
const gone = new Set(['ECONNREFUSED', 'ENOENT', 'EACCES', 'ECONNRESET', 'EPIPE', 'ECONNABORTED'])

/** The HTTP status that the engine refused with, if it was the engine that refused. */
export function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('statusCode' in error)) return undefined
  return typeof error.statusCode === 'number' ? error.statusCode : undefined
}

/** An engine that is being stopped still answers, that its own parts have gone. */
const stopping = /transport is closing|error while dialing|daemon is shutting down/

function isGone(error: Error): boolean {
  if ((statusOf(error) ?? 0) >= 500) return stopping.test(error.message)
  const code = 'code' in error ? error.code : undefined
  return (typeof code === 'string' && gone.has(code)) || error.message === 'socket hang up'
}

/**
 * What a failed call to the engine means for Kiln: `docker_unavailable` when nobody answered (try again
 * later), `prerequisite_missing` when no addresses are left for another network, `not_found` for 404,
 * `internal` otherwise. A KilnError passes through unchanged.
 */
export function dockerError(error: unknown): KilnError {
  if (error instanceof KilnError) return error
  if (!(error instanceof Error))
    return new KilnError('internal', `the engine failed: ${String(error)}`)
  if (isGone(error)) {
    return new KilnError(
      'docker_unavailable',
      `the Docker Engine does not answer: ${error.message}`,
      {
        cause: error,
        fix: 'kiln doctor',
      },
    )
  }
  if (error.message.includes('address pool')) {
    return new KilnError(
      'prerequisite_missing',
      'the Docker Engine has no addresses left for another network',
      { cause: error, fix: 'give it more: docs/install.md#networks' },
    )
  }
  const code = statusOf(error) === 404 ? 'not_found' : 'internal'
  return new KilnError(code, `the Docker Engine refused: ${error.message.trim()}`, { cause: error })
}

/** Runs one call to the engine; what it throws is a KilnError, or the signal's own reason when that was aborted. */
export async function callDocker<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await call()
  } catch (error) {
    signal?.throwIfAborted()
    throw dockerError(error)
  }
}

export type EngineVersion = { version: string; apiVersion: string; architecture: string }

/** Throws `docker_unavailable` when no engine answers. */
export async function engineVersion(docker: DockerClient): Promise<EngineVersion> {
  const found = await callDocker(() => docker.version())
  return { version: found.Version, apiVersion: found.ApiVersion, architecture: found.Arch }
}
