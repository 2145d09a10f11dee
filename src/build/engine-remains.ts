import type { DockerClient } from '../docker/client.ts'
import { callDocker, statusOf } from '../docker/client.ts'
import { removeContainer } from '../docker/containers.ts'
import type { Mark } from './engine-marks.ts'
import { isAlone, unmarkAttempts } from './engine-marks.ts'
import type { BuildOwner } from './names.ts'
import { madeByBuild } from './names.ts'

/**
 * Removes what attempts of this build left in the engine: containers, marks, and the names under which
 * images were pushed. What the app's next build may reuse has a name of its own and stays.
 */
export async function removeAttempt(docker: DockerClient, owner: BuildOwner): Promise<void> {
  const filters = madeByBuild(owner)
  await unmarkAttempts(docker, owner)
  const containers = await callDocker(() => docker.listContainers({ all: true, filters }))
  for (const { Id } of containers) await removeContainer(docker, Id)
  const images = await callDocker(() => docker.listImages({ filters }))
  for (const { RepoTags } of images) {
    const pushed = (RepoTags ?? []).filter((name) => name.includes('/kiln/capture/'))
    for (const name of pushed) await dropImage(docker, name)
  }
}

/**
 * Removes what builds from this base left behind when their engine or their worker died: containers of
 * RUN steps, and images of steps that no name leads to. Does nothing while another build from it is marked: what
 * is looked at before the marks cannot be of a build that began after them.
 */
export async function sweepEngine(
  docker: DockerClient,
  options: { base: string; mark: Mark; oldestMs: number },
): Promise<void> {
  const containers = await stepContainers(docker, options.base)
  const images = await stepImages(docker, options.base)
  if (containers.length + images.length === 0 || !(await isAlone(docker, options))) return
  for (const id of containers) await removeContainer(docker, id)
  for (const id of images) await dropImage(docker, id)
}

async function stepContainers(docker: DockerClient, base: string): Promise<string[]> {
  const filters = JSON.stringify({ ancestor: [base] })
  const found = await callDocker(() => docker.listContainers({ all: true, filters }))
  const steps: string[] = []
  for (const { Id, Labels } of found) {
    // A step's container has no name that tells, but the clock that every build is given.
    const { Config } = await inspected(() => docker.getContainer(Id).inspect(), noContainer)
    const hasClock = (Config.Env ?? []).some((one) => one.startsWith('SOURCE_DATE_EPOCH='))
    if (hasClock && Object.keys(Labels).length === 0) steps.push(Id)
  }
  return steps
}

/** One list tells every image's parent: asking for each alone takes seconds where an engine has hundreds. */
async function stepImages(docker: DockerClient, base: string): Promise<string[]> {
  const { Id: baseId } = await inspected(() => docker.getImage(base).inspect(), noImage)
  const filters = JSON.stringify({ dangling: ['true'] })
  const dangling = await callDocker(() => docker.listImages({ filters }))
  if (dangling.length === 0) return []
  const all = await callDocker(() => docker.listImages({ all: true }))
  const parents = new Map(all.map(({ Id, ParentId }) => [Id, ParentId]))
  return dangling.map(({ Id }) => Id).filter((id) => descends(parents, id, baseId))
}

function descends(parents: ReadonlyMap<string, string>, id: string, ancestor: string): boolean {
  let at = parents.get(id)
  // As many steps as there are images: an engine that answers with a circle is not followed for ever.
  for (let step = 0; step < parents.size && at !== undefined && at !== ancestor; step++) {
    at = parents.get(at)
  }
  return at === ancestor
}

const noContainer = { Config: { Env: [] as string[] } }
const noImage = { Id: '' }

/** What the engine says of a thing, or `absent` when it is gone. */
async function inspected<T>(inspect: () => Promise<T>, absent: T): Promise<T> {
  try {
    return await inspect()
  } catch (error) {
    if (statusOf(error) === 404) return absent
    return callDocker(() => Promise.reject(error))
  }
}

/** Steps go with the last image that needs them, so some are gone, or still needed, when their turn comes. */
async function dropImage(docker: DockerClient, name: string): Promise<void> {
  try {
    await docker.getImage(name).remove({})
  } catch (error) {
    const status = statusOf(error)
    if (status !== 404 && status !== 409) await callDocker(() => Promise.reject(error))
  }
}
