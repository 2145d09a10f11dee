import type { Digest } from '../domain/digest.ts'
import type { Definition } from '../domain/definition.ts'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import type { Leaf } from '../domain/statement.ts'
import { callDocker, statusOf } from '../docker/client.ts'
import type { RuntimeDependencies } from './activities.ts'
import { assertNotRoot, containerOptions } from './container.ts'
import { endContainer, startContainer } from './engine.ts'
import { rehearsalLabels, rehearsalName, settingsOf } from './label.ts'
import { waitUntilReady } from './ready.ts'
import { resolveSecrets } from './secret-source.ts'

export type RehearsalRequest = {
  /** The operation's id; what an attempt leaves is found by it. */
  id: string
  environment: EnvironmentName
  key: Leaf
  digest: Digest
  definition: Digest
  sequence: number
}

/** How long it took, in ms: until its image was here, and from its start until it answered. */
export type Rehearsed = { pulledMs: number; readyMs: number }

export type RehearsalActivities = ReturnType<typeof rehearsals>['activities']

/**
 * Starts an instance of an environment's rollback target aside: it is in no environment's network, has no label of an
 * instance, gets no traffic, and is ended once it answered. `sweep` ends what attempts that died have left.
 */
export function rehearsals(dependencies: RuntimeDependencies) {
  const { activity, docker, naming } = dependencies
  /** What is rehearsed here now, by name; another attempt of the same waits for the one that runs. */
  const running = new Map<string, Promise<unknown>>()

  const sweep = async (): Promise<void> => {
    const marks = Object.entries(rehearsalLabels(naming)).map((pair) => pair.join('='))
    const filters = JSON.stringify({ label: marks })
    const names = new Set([
      ...(await callDocker(() => docker.listContainers({ all: true, filters }))).map(({ Names }) =>
        (Names[0] ?? '').slice(1),
      ),
      ...(await callDocker(() => docker.listNetworks({ filters }))).map(({ Name }) => Name),
    ])
    for (const name of names) if (!running.has(name)) await clear(dependencies, name, 1000)
  }

  return {
    sweep,
    activities: {
      /**
       * Throws as a start does (`verification_failed`, `refused`, `registry_unavailable`, …), and
       * `change_failed` with its last lines for an instance that does not answer.
       */
      async rehearse(request: RehearsalRequest): Promise<Rehearsed> {
        const name = rehearsalName(naming, request)
        const { signal } = activity()
        await running.get(name)?.catch(() => undefined)
        await sweep()
        const work = perform(dependencies, { name, request, signal })
        running.set(name, work)
        try {
          return await work
        } finally {
          running.delete(name)
        }
      },
    },
  }
}

type Rehearsal = { name: string; request: RehearsalRequest; signal: AbortSignal }

async function perform(
  dependencies: RuntimeDependencies,
  rehearsal: Rehearsal,
): Promise<Rehearsed> {
  const { crashPoint = () => undefined, fence, logger } = dependencies
  const { name, request } = rehearsal
  const { environment, digest } = request
  const seen = fence.record(environment)
  const { definition } = await dependencies.admission.check({
    ...request,
    rehearsal: true,
    seen: { epoch: seen.epoch, sequence: seen.sequence },
  })
  if (fence.isDenied(digest)) {
    throw new KilnError('refused', `this host has seen ${digest} denied`, { place: 'denied' })
  }
  try {
    const took = await startAside(dependencies, rehearsal, definition)
    crashPoint('rehearsal.ready')
    logger.info({ environment, digest, ...took }, 'the rollback target was rehearsed')
    return took
  } finally {
    await clear(dependencies, name, definition.stop.graceMs)
    crashPoint('rehearsal.ended')
  }
}

async function startAside(
  dependencies: RuntimeDependencies,
  { name, request, signal }: Rehearsal,
  definition: Definition,
): Promise<Rehearsed> {
  const { activity, crashPoint = () => undefined, docker, naming, pull } = dependencies
  const values = await resolveSecrets(dependencies.secrets.sources, definition.secrets ?? {})
  const begin = performance.now()
  const { app } = parseEnvironmentName(request.environment)
  const imageId = await pull({ app, digest: request.digest, signal })
  const pulledMs = Math.round(performance.now() - begin)
  crashPoint('rehearsal.pulled')
  const { Config } = await callDocker(() => docker.getImage(imageId).inspect())
  assertNotRoot(Config.User)
  await makeNetwork(dependencies, name)
  crashPoint('rehearsal.network')
  const secrets =
    values.size === 0
      ? null
      : await dependencies.secrets.files.place({ instance: name, values, user: Config.User })
  const settings = settingsOf(definition)
  const labels = {
    environment: request.environment,
    epoch: 0,
    change: request.id,
    digest: request.digest,
    definition: request.definition,
    key: request.key,
    host: naming.host,
    settings,
  }
  const plan = { name, number: 0, imageId, network: name, definition, secrets, labels }
  signal.throwIfAborted()
  const options = { ...containerOptions(plan), Labels: rehearsalLabels(naming) }
  const { id } = await callDocker(() => docker.createContainer(options))
  crashPoint('rehearsal.created')
  const started = performance.now()
  await startContainer(docker, id)
  crashPoint('rehearsal.started')
  const { heartbeat } = activity()
  await waitUntilReady(dependencies, { name, id, network: name, settings }, { signal, heartbeat })
  return { pulledMs, readyMs: Math.round(performance.now() - started) }
}

async function makeNetwork({ docker, naming }: RuntimeDependencies, name: string): Promise<void> {
  await callDocker(() =>
    docker.createNetwork({
      Name: name,
      Driver: 'bridge',
      CheckDuplicate: true,
      Labels: rehearsalLabels(naming),
      Options: { 'com.docker.network.bridge.enable_icc': 'false' },
    }),
  )
}

/** Ends one rehearsal's instance and takes away all that it had; that there is nothing is fine. */
async function clear(
  { docker, secrets }: RuntimeDependencies,
  name: string,
  graceMs: number,
): Promise<void> {
  await endContainer(docker, { id: name, state: 'running' }, graceMs)
  await secrets.files.remove([name])
  try {
    await docker.getNetwork(name).remove()
  } catch (error) {
    if (statusOf(error) !== 404) await callDocker(() => Promise.reject(error))
  }
}
