import { z } from 'zod'
import type { Digest } from '../domain/digest.ts'
import { isDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { DockerClient } from './client.ts'
import { callDocker, dockerError, statusOf } from './client.ts'
import { jsonLines } from './json-lines.ts'

/** What a registry is told: basic authentication, checked by Kiln's loopback endpoints. */
export type RegistryAuth = { username: string; password: string; serveraddress: string }

const transferEvent = z.object({
  error: z.string().optional(),
  errorDetail: z.object({ message: z.string() }).optional(),
  aux: z.object({ Digest: z.string().optional() }).optional(),
})

/**
 * Reads a pull's or push's stream to its end and returns the manifest digest that the engine names.
 * The engine reports failure inside the stream, with HTTP 200.
 */
async function readTransfer(body: AsyncIterable<unknown>): Promise<string | undefined> {
  let digest: string | undefined
  for await (const line of jsonLines(body)) {
    const event = transferEvent.parse(line)
    const failure = event.errorDetail?.message ?? event.error
    if (failure !== undefined) throw new KilnError('registry_unavailable', failure)
    digest = event.aux?.Digest ?? digest
  }
  return digest
}

async function transfer(
  open: () => Promise<NodeJS.ReadableStream>,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  try {
    return await readTransfer(await open())
  } catch (error) {
    signal?.throwIfAborted()
    throw dockerError(error)
  }
}

/**
 * Makes an image present in the engine by digest and returns its reference `<repository>@<digest>`.
 * Asks the registry only when the engine has not got it. Throws `registry_unavailable`, `docker_unavailable`.
 */
export async function pullByDigest(
  docker: DockerClient,
  image: { repository: string; digest: Digest },
  options: { auth?: RegistryAuth; signal?: AbortSignal } = {},
): Promise<string> {
  const reference = `${image.repository}@${image.digest}`
  if (await hasImage(docker, reference)) return reference
  const { auth, signal } = options
  await transfer(
    () =>
      docker.createImage(auth === undefined ? {} : auth, {
        fromImage: image.repository,
        tag: image.digest,
        ...(signal === undefined ? {} : { abortSignal: signal }),
      }),
    signal,
  )
  return reference
}

async function hasImage(docker: DockerClient, reference: string): Promise<boolean> {
  try {
    await docker.getImage(reference).inspect()
    return true
  } catch (error) {
    if (statusOf(error) === 404) return false
    throw dockerError(error)
  }
}

/** Pushes `<repository>:<tag>` and returns the digest of the manifest that the engine wrote for it. */
export async function pushImage(
  docker: DockerClient,
  image: { repository: string; tag: string },
  options: { auth: RegistryAuth; signal: AbortSignal },
): Promise<Digest> {
  const { auth, signal } = options
  const digest = await transfer(
    () =>
      docker
        .getImage(image.repository)
        .push({ tag: image.tag, authconfig: auth, abortSignal: signal }),
    signal,
  )
  if (digest === undefined || !isDigest(digest)) {
    throw new KilnError('registry_unavailable', 'the push ended without a digest')
  }
  return digest
}

/** Removes an image or one of its references; that it is gone already is fine. */
export async function removeImage(docker: DockerClient, reference: string): Promise<void> {
  try {
    await callDocker(() => docker.getImage(reference).remove({ force: true }))
  } catch (error) {
    if (!(error instanceof KilnError && error.code === 'not_found')) throw error
  }
}
