import { randomUUID } from 'node:crypto'
import type { Digest } from '../domain/digest.ts'
import type { DockerClient } from '../docker/client.ts'
import { callDocker, statusOf } from '../docker/client.ts'
import type { BuildOwner } from './names.ts'
import { labelOfBuilder, labelsOfBuild, madeByBuild } from './names.ts'

const markLabel = 'kiln.building'

/** A build at work on top of a base; its mark is a volume, which costs a few milliseconds. */
export type Mark = { name: string; base: Digest }

/**
 * Says in the engine that a build runs, so that no other one from the same base, of this process or
 * another, takes its steps for remains.
 */
export async function markBuild(
  docker: DockerClient,
  { base, ...owner }: BuildOwner & { base: Digest },
): Promise<Mark> {
  const name = `kiln-building-${randomUUID()}`
  const Labels = { [markLabel]: base, ...labelsOfBuild(owner) }
  await callDocker(() => docker.createVolume({ Name: name, Labels }))
  return { name, base }
}

/** That it is gone already is fine. */
export async function unmarkBuild(docker: DockerClient, name: string): Promise<void> {
  try {
    await docker.getVolume(name).remove()
  } catch (error) {
    if (statusOf(error) !== 404) await callDocker(() => Promise.reject(error))
  }
}

/** Removes the marks of earlier attempts of this build. */
export async function unmarkAttempts(docker: DockerClient, owner: BuildOwner): Promise<void> {
  for (const { Name } of await listMarks(docker, madeByBuild(owner))) {
    await unmarkBuild(docker, Name)
  }
}

/** Whether no other build from this base is marked; marks older than any build may last are of the dead and removed. */
export async function isAlone(
  docker: DockerClient,
  { mark, oldestMs }: { mark: Mark; oldestMs: number },
): Promise<boolean> {
  // The engine's clock is the one that its marks are dated by.
  const { SystemTime } = (await callDocker(() => docker.info())) as { SystemTime: string }
  let alone = true
  for (const { Name, CreatedAt } of await listMarks(docker, marks(mark.base))) {
    if (Name === mark.name) continue
    const age = Date.parse(SystemTime) - Date.parse(CreatedAt)
    if (age > oldestMs) await unmarkBuild(docker, Name)
    else alone = false
  }
  return alone
}

/** Whether any build of this builder is marked, of whatever base: other Kilns pull under names of their own. */
export async function isBuilding(docker: DockerClient, builder: string): Promise<boolean> {
  const label = [markLabel, labelOfBuilder(builder)]
  return (await listMarks(docker, JSON.stringify({ label }))).length > 0
}

type Volume = { Name: string; CreatedAt: string }

function marks(base: Digest): string {
  return JSON.stringify({ label: [`${markLabel}=${base}`] })
}

async function listMarks(docker: DockerClient, filters: string): Promise<Volume[]> {
  const { Volumes } = await callDocker(() => docker.listVolumes({ filters }))
  return (Volumes as unknown as Volume[] | null) ?? []
}
