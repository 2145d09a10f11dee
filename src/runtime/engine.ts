import type { ContainerInfo, ContainerInspectInfo } from 'dockerode'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { callDocker, statusOf, type DockerClient } from '../docker/client.ts'
import { removeContainer } from '../docker/containers.ts'
import {
  environmentOfContainer,
  networkName,
  readLabels,
  type InstanceLabels,
  type Naming,
} from './label.ts'

/** A container that belongs to an environment, or pretends to. */
export type Found = {
  id: string
  name: string
  /** The image's id in the engine: the digest of its config. */
  imageId: string
  state: string
  /** The engine's time of the last start. */
  startedAt: string
  exitCode: number
  /** On the environment's own network; empty when it is not there. */
  address: string
  /** Null when Kiln did not write them. */
  labels: InstanceLabels | null
  /** All that the engine tells of it. */
  info: ContainerInspectInfo
}

export type Engine = { docker: DockerClient; naming: Naming }

/** Every container of this host that has the environment's label or begins with its name, running or not. */
export async function findContainers(
  { docker, naming }: Engine,
  environment: EnvironmentName,
): Promise<Found[]> {
  const network = networkName(naming, environment)
  const list = (filters: Record<string, string[]>) =>
    callDocker(() => docker.listContainers({ all: true, filters: JSON.stringify(filters) }))
  const listed = await Promise.all([
    list({ label: [`kiln.environment=${environment}`] }),
    list({ name: [`^/${network.replaceAll('.', String.raw`\.`)}\\.`] }),
  ])
  const own = new Map(
    listed
      .flat()
      .filter((one) => environmentOfContainer(naming, identity(one)) === environment)
      .map((one) => [one.Id, one]),
  )
  const found = await Promise.all(
    [...own.keys()].map((id) => inspectContainer(docker, id, network)),
  )
  return found.filter((one) => one !== null).toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function identity({ Names, Labels }: ContainerInfo): {
  name: string
  labels: Record<string, string>
} {
  return { name: (Names[0] ?? '').slice(1), labels: Labels }
}

/** By id or name; null when there is none. */
export async function inspectContainer(
  docker: DockerClient,
  reference: string,
  network: string,
): Promise<Found | null> {
  try {
    return readContainer(await docker.getContainer(reference).inspect(), network)
  } catch (error) {
    if (statusOf(error) === 404) return null
    return callDocker(() => Promise.reject(error))
  }
}

function readContainer(info: ContainerInspectInfo, network: string): Found {
  return {
    id: info.Id,
    name: info.Name.slice(1),
    imageId: info.Image,
    state: info.State.Status,
    startedAt: info.State.StartedAt,
    exitCode: info.State.ExitCode,
    address: info.NetworkSettings.Networks[network]?.IPAddress ?? '',
    labels: readLabels(info.Config.Labels),
    info,
  }
}

/** The environment's own bridge. Its instances cannot reach each other; the edge and the world they can. */
export async function ensureNetwork(
  { docker, naming }: Engine,
  environment: EnvironmentName,
): Promise<string> {
  const name = networkName(naming, environment)
  if (await ownNetwork(docker, name, naming)) return name
  try {
    await docker.createNetwork({
      Name: name,
      Driver: 'bridge',
      CheckDuplicate: true,
      Labels: { 'kiln.environment': environment, 'kiln.host': naming.host },
      Options: { 'com.docker.network.bridge.enable_icc': 'false' },
    })
  } catch (error) {
    if (statusOf(error) !== 409) return callDocker(() => Promise.reject(error))
  }
  return name
}

async function ownNetwork(docker: DockerClient, name: string, naming: Naming): Promise<boolean> {
  const filters = JSON.stringify({ name: [`^${name.replaceAll('.', String.raw`\.`)}$`] })
  const [network] = await callDocker(() => docker.listNetworks({ filters }))
  if (network === undefined) return false
  if (network.Labels?.['kiln.host'] === naming.host && network.Driver === 'bridge') return true
  throw new KilnError('refused', `the network ${name} was not made by this host`, {
    place: name,
    fix: `docker network rm ${name}`,
  })
}

/** That it runs already is fine. */
export async function startContainer(docker: DockerClient, id: string): Promise<void> {
  try {
    await docker.getContainer(id).start()
  } catch (error) {
    if (statusOf(error) !== 304) await callDocker(() => Promise.reject(error))
  }
}

/** SIGTERM, the grace it has, SIGKILL, and away with it and its volumes. That it is gone already is fine. */
export async function endContainer(
  docker: DockerClient,
  { id, state }: Pick<Found, 'id' | 'state'>,
  graceMs: number,
): Promise<void> {
  const container = docker.getContainer(id)
  // A paused container hears no signal.
  if (state === 'paused') await container.unpause().catch(() => undefined)
  try {
    await container.stop({ t: Math.ceil(graceMs / 1000) })
  } catch (error) {
    const status = statusOf(error)
    if (status !== 304 && status !== 404) await callDocker(() => Promise.reject(error))
  }
  await removeContainer(docker, id)
}

/** The container's last lines, oldest first, as people need them to see why it failed. */
export async function lastLines(
  docker: DockerClient,
  id: string,
  count: number,
): Promise<readonly string[]> {
  const output = await callDocker(() =>
    docker.getContainer(id).logs({ stdout: true, stderr: true, tail: count, follow: false }),
  )
  return linesOf(output)
    .slice(-count)
    .map((line) => line.slice(0, 1000))
}

/** Without a terminal the engine frames its output: stream, three zero bytes, length, text. */
function linesOf(output: Buffer): string[] {
  const parts: Buffer[] = []
  for (let at = 0; at + 8 <= output.length;) {
    const length = output.readUInt32BE(at + 4)
    parts.push(output.subarray(at + 8, at + 8 + length))
    at += 8 + length
  }
  return Buffer.concat(parts)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
}
