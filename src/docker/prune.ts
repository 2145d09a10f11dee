import type { ImageInfo } from 'dockerode'
import { isDigest, type Digest } from '../domain/digest.ts'
import { callDocker, statusOf, type DockerClient } from './client.ts'

/** An image under a name of one of Kiln's own registries. */
export type OwnImage = { reference: string; digest: Digest; bytes: number }

/**
 * Images that were pulled by digest from the registry at `address` (`127.0.0.1:<port>`), and no others:
 * names of other registries, tags, and images of other Kilns on this engine are not Kiln's to remove.
 */
export async function ownImages(docker: DockerClient, address: string): Promise<OwnImage[]> {
  const all = await callDocker(() => docker.listImages())
  return all.flatMap((image) => referencesOf(image, address))
}

function referencesOf({ RepoDigests, Size }: ImageInfo, address: string): OwnImage[] {
  return (RepoDigests ?? []).flatMap((reference) => {
    const [repository = '', digest = ''] = reference.split('@')
    return repository.startsWith(`${address}/`) && isDigest(digest)
      ? [{ reference, digest, bytes: Size }]
      : []
  })
}

/**
 * Takes a name from its image, and the image away with its last name. False when a container or another
 * image still needs it: the engine says so, and nothing is forced.
 */
export async function releaseImage(docker: DockerClient, reference: string): Promise<boolean> {
  try {
    await docker.getImage(reference).remove({})
    return true
  } catch (error) {
    const status = statusOf(error)
    if (status === 404) return true
    if (status === 409) return false
    return callDocker(() => Promise.reject(error))
  }
}
