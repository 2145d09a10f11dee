import type { Readable } from 'node:stream'
import type { ImageBuildOptions } from 'dockerode'
import { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import type { DockerClient } from './client.ts'
import { dockerError } from './client.ts'
import { jsonLines } from './json-lines.ts'
import { createWatchdog } from './watchdog.ts'

const buildEvent = z.object({
  stream: z.string().optional(),
  aux: z.object({ ID: z.string().optional() }).optional(),
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string().optional() }).optional(),
})

/** `remote` would make the engine fetch an address by itself and `version` 2 is another engine: neither can be set. */
export type EngineBuildOptions = Omit<
  ImageBuildOptions,
  'remote' | 'version' | 'abortSignal' | 'authconfig' | 'registryconfig'
>

export type EngineBuild = {
  context: Readable
  options: EngineBuildOptions
  signal: AbortSignal
  /** A build that says nothing for so long is ended. */
  silenceMs: number
  onText: (text: string) => void
}

/**
 * Builds with the engine's classic builder and returns the image's id. Aborting the signal ends the build
 * and removes its container. Throws `build_failed` with the engine's own message, `docker_unavailable`
 * when the engine went away, or the signal's reason.
 */
export async function buildWithEngine(docker: DockerClient, build: EngineBuild): Promise<string> {
  const watchdog = createWatchdog(build.signal, build.silenceMs)
  try {
    const body = await docker.buildImage(build.context, {
      ...build.options,
      abortSignal: watchdog.signal,
    })
    return await readBuild(body, (text) => {
      watchdog.sign()
      build.onText(text)
    })
  } catch (error) {
    build.signal.throwIfAborted()
    if (watchdog.bit()) {
      throw new KilnError('build_failed', `the build said nothing for ${build.silenceMs / 1000} s`)
    }
    if (isEngineFault(error) || !(await isAnswering(docker))) {
      throw new KilnError('docker_unavailable', 'the engine gave up the build', { cause: error })
    }
    throw dockerError(error)
  } finally {
    watchdog.stop()
    build.context.destroy()
  }
}

/** The engine reports failure inside the stream, with HTTP 200; a build without an image id did not succeed. */
async function readBuild(
  body: AsyncIterable<unknown>,
  onText: (text: string) => void,
): Promise<string> {
  let imageId: string | undefined
  for await (const line of jsonLines(body)) {
    const event = buildEvent.parse(line)
    const failure = event.errorDetail?.message ?? event.error
    if (failure !== undefined) throw new KilnError('build_failed', failure)
    onText(event.stream ?? '')
    imageId = event.aux?.ID ?? imageId
  }
  if (imageId === undefined) {
    throw new KilnError('docker_unavailable', 'the engine ended the build without an answer')
  }
  return imageId
}

/** What the engine says when it stops in the middle, or loses an image of an earlier step. */
const engineFault =
  /^(?!The command ').*(context canceled|database not open|No such image: sha256|layer does not exist|transport is closing)/

function isEngineFault(error: unknown): error is KilnError {
  return (
    error instanceof KilnError && error.code === 'build_failed' && engineFault.test(error.message)
  )
}

/** A step that fails because its engine is about to end looks like one that fails by itself. */
async function isAnswering(docker: DockerClient): Promise<boolean> {
  try {
    await docker.ping()
    return true
  } catch {
    return false
  }
}
