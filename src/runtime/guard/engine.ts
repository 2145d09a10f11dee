import type { ContainerInspectInfo, ImageInspectInfo } from 'dockerode'
import { callDocker, statusOf, type DockerClient } from '../../docker/client.ts'
import { joinsOf } from './create-body.ts'
import type { Seen } from './verdict.ts'

/** What the guard asks the engine while that waits for its verdict. These are reads: the guard lets them through unseen. */
export type GuardEngine = {
  /** As the engine itself would understand the reference; null when there is none. */
  container: (reference: string) => Promise<Seen | null>
  /** The container that an exec is of; null when there is none. */
  exec: (id: string) => Promise<string | null>
  image: (reference: string) => Promise<{ id: string; references: readonly string[] } | null>
}

const answerMs = 5000

export function guardEngine(docker: DockerClient): GuardEngine {
  return {
    async container(reference) {
      const found = await asked((abortSignal) =>
        docker.getContainer(escaped(reference)).inspect({ abortSignal }),
      )
      return found === null ? null : seenOf(found)
    },
    async exec(id) {
      const found = await asked((abortSignal) =>
        docker.getExec(escaped(id)).inspect({ abortSignal }),
      )
      return found === null ? null : found.ContainerID
    },
    async image(reference) {
      const found = await asked(() => docker.getImage(escaped(reference)).inspect())
      return found === null ? null : { id: found.Id, references: namesOf(found) }
    },
  }
}

async function asked<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
  try {
    return await ask(AbortSignal.timeout(answerMs))
  } catch (error) {
    if (statusOf(error) === 404) return null
    return callDocker(() => Promise.reject(error))
  }
}

/** A slash stays one: names of images have them. */
function escaped(reference: string): string {
  return reference.split('/').map(encodeURIComponent).join('/')
}

function seenOf({ Id, Name, Image, Config, HostConfig }: ContainerInspectInfo): Seen {
  return {
    id: Id,
    name: Name.replace(/^\//, ''),
    labels: Config.Labels ?? {},
    imageId: Image,
    image: Config.Image,
    joins: joinsOf(HostConfig as Record<string, unknown>),
  }
}

function namesOf({ RepoDigests, RepoTags }: ImageInspectInfo): string[] {
  return [...(RepoDigests ?? []), ...(RepoTags ?? [])]
}
