import { createHash } from 'node:crypto'
import { z } from 'zod'
import { isDigest, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { callDocker, statusOf, type DockerClient } from '../docker/client.ts'
import { pullByDigest } from '../docker/images.ts'
import { mediaTypes } from '../oci/image.ts'

/** Kiln's registry as the host reaches it. */
export type RegistryAccess = {
  /** `127.0.0.1:<port>` */
  address: string
  auth: { username: string; password: string }
}

export type PullRequest = { app: string; digest: Digest; signal: AbortSignal }

/** Makes the artifact present in the engine and returns its image id; the port that tests replace. */
export type Pull = (request: PullRequest) => Promise<string>

const manifestForm = z.object({
  schemaVersion: z.literal(2),
  config: z.object({
    digest: z.custom<Digest>((text) => typeof text === 'string' && isDigest(text)),
  }),
})

/**
 * Pulls by digest, and accepts only the image whose id is the config digest that the manifest names: the
 * manifest's own bytes are hashed here, so neither the registry nor the engine's cache is believed.
 * The registry is asked each time: it serves hosts only what is admissible now.
 * Throws `refused`, `digest_mismatch`, `registry_unavailable`, `docker_unavailable`.
 */
export function pullFrom(docker: DockerClient, registry: RegistryAccess): Pull {
  return async ({ app, digest, signal }) => {
    const expected = await configDigest(registry, { app, digest, signal })
    if (await hasImage(docker, expected)) return expected
    const reference = await pullByDigest(
      docker,
      { repository: `${registry.address}/${app}`, digest },
      { auth: { ...registry.auth, serveraddress: registry.address }, signal },
    )
    const found = await callDocker(() => docker.getImage(reference).inspect())
    if (found.Id !== expected) {
      throw new KilnError(
        'digest_mismatch',
        `the engine has ${found.Id} for ${digest}, whose manifest names ${expected}`,
      )
    }
    return expected
  }
}

async function configDigest(
  { address, auth }: RegistryAccess,
  { app, digest, signal }: PullRequest,
): Promise<Digest> {
  const response = await fetch(`http://${address}/v2/${app}/manifests/${digest}`, {
    headers: {
      accept: mediaTypes.manifest,
      authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`,
    },
    redirect: 'error',
    signal,
  }).catch((cause: unknown) => {
    signal.throwIfAborted()
    throw new KilnError('registry_unavailable', `the registry at ${address} does not answer`, {
      cause,
    })
  })
  const bytes = Buffer.from(await response.arrayBuffer())
  if (!response.ok) throw refusal(response.status, digest)
  const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  if (found !== digest) {
    throw new KilnError('digest_mismatch', `the registry sent ${found} for ${digest}`)
  }
  return manifestForm.parse(JSON.parse(bytes.toString('utf8'))).config.digest
}

function refusal(status: number, digest: Digest): KilnError {
  if (status >= 500) return new KilnError('registry_unavailable', `the registry answered ${status}`)
  return new KilnError(
    'refused',
    `the registry does not serve ${digest} to this host (${status})`,
    {
      place: 'registry',
    },
  )
}

async function hasImage(docker: DockerClient, id: Digest): Promise<boolean> {
  try {
    await docker.getImage(id).inspect()
    return true
  } catch (error) {
    if (statusOf(error) === 404) return false
    return callDocker(() => Promise.reject(error))
  }
}
