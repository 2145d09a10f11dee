import { setTimeout as delay } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { Definition } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import type { Effect, Endpoint } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import type { Leaf } from '../domain/statement.ts'
import { callDocker, statusOf } from '../docker/client.ts'
import { removeContainer } from '../docker/containers.ts'
import { assertNotRoot, containerOptions, type ContainerPlan } from './container.ts'
import { endContainer, findContainers, inspectContainer, startContainer } from './engine.ts'
import type { Engine, Found } from './engine.ts'
import type { HostFence } from './fence.ts'
import { noteEnding, noteGone, noteMade, noteMaking } from './host-record.ts'
import { instanceName, settingsOf } from './label.ts'
import type { SecretFiles } from './secret-files.ts'

export type Workshop = Engine & {
  fence: HostFence
  secrets: SecretFiles
  /** Called after each step that has an effect, with its name; for crash tests. */
  crashPoint: (name: string) => void
}

/** What instances are made of, verified. */
export type Mould = {
  effect: Effect
  key: Leaf
  digest: Digest
  definitionDigest: Digest
  definition: Definition
  imageId: string
  network: string
  /** Values by name; read once for all instances of one start. */
  secrets: ReadonlyMap<string, Uint8Array>
}

/** How often a name may be found taken before somebody else must be making it. */
const attempts = 25

/** Makes and starts the epoch's instance of this number, or finds the one that an earlier attempt made. */
export async function ensureInstance(
  workshop: Workshop,
  mould: Mould,
  number: number,
): Promise<Endpoint> {
  const plan = planOf(workshop, mould, number)
  const { docker, fence } = workshop
  const { environment } = mould.effect
  const id = (await usable(workshop, plan)) ?? (await make(workshop, mould, plan))
  if (fence.record(environment).made[id] === undefined) {
    await fence.note(environment, (record) => noteMade(record, id, ''))
  }
  await startContainer(docker, id)
  workshop.crashPoint('runtime.started')
  const started = await inspectContainer(docker, id, plan.network)
  if (started === null) {
    throw new KilnError('change_failed', `the instance ${plan.name} was removed while it started`)
  }
  await fence.note(environment, (record) => noteMade(record, id, started.startedAt))
  return { name: plan.name, id, address: started.address, port: mould.definition.port }
}

function planOf({ naming }: Workshop, mould: Mould, number: number): ContainerPlan {
  const { definition, effect, imageId, network } = mould
  return {
    name: instanceName(naming, effect, number),
    number,
    imageId,
    network,
    definition,
    secrets: null,
    labels: {
      ...effect,
      digest: mould.digest,
      definition: mould.definitionDigest,
      key: mould.key,
      host: naming.host,
      settings: settingsOf(definition),
    },
  }
}

/** The id of the container that an earlier attempt made, when it is right; others of that name are removed. */
async function usable(workshop: Workshop, plan: ContainerPlan): Promise<string | null> {
  const found = await inspectContainer(workshop.docker, plan.name, plan.network)
  if (found === null) return null
  const living = found.state === 'created' || found.state === 'running'
  const same =
    living &&
    !isTainted(workshop, found) &&
    found.imageId === plan.imageId &&
    sameLabels(found, plan)
  if (same && (await hasSecrets(workshop, plan))) return found.id
  await endInstances(workshop, plan.labels, [found])
  return null
}

/** What an instance was given is gone after a reboot: then it cannot be started as it is. */
async function hasSecrets({ secrets }: Workshop, plan: ContainerPlan): Promise<boolean> {
  return plan.definition.secrets === undefined || (await secrets.find(plan.name)) !== null
}

function sameLabels(found: Found, { labels }: ContainerPlan): boolean {
  return isDeepStrictEqual(found.labels, labels)
}

async function make(workshop: Workshop, mould: Mould, plan: ContainerPlan): Promise<string> {
  const { docker, fence } = workshop
  const image = await docker
    .getImage(plan.imageId)
    .inspect()
    .catch((error: unknown) => {
      if (statusOf(error) === 404) throw goneWhileUsed(plan, error)
      return callDocker(() => Promise.reject(error))
    })
  assertNotRoot(image.Config.User)
  await fence.note(mould.effect.environment, (record) => noteMaking(record, plan.name))
  for (let attempt = 1; ; attempt++) {
    try {
      const secrets = await give(workshop, mould, { ...plan, user: image.Config.User })
      const { id } = await docker.createContainer(containerOptions({ ...plan, secrets }))
      workshop.crashPoint('runtime.created')
      await fence.note(mould.effect.environment, (record) => noteMade(record, id, ''))
      workshop.crashPoint('runtime.noted')
      return id
    } catch (error) {
      // Another process may prune: the next try pulls it again.
      if (statusOf(error) === 404) throw goneWhileUsed(plan, error)
      // The engine frees a name only some time after it said that the container is gone.
      if (statusOf(error) !== 409 || attempt === attempts) {
        return callDocker(() => Promise.reject(error))
      }
      await delay(200)
      const id = await usable(workshop, plan)
      if (id !== null) return id
    }
  }
}

function goneWhileUsed({ name }: ContainerPlan, cause: unknown): KilnError {
  return new KilnError('docker_unavailable', `the image of ${name} went while it was used`, {
    cause,
  })
}

/** Before it is made: its secrets are there when its app starts. Null when it has none. */
async function give(
  { secrets, crashPoint }: Workshop,
  { secrets: values }: Mould,
  { name, user }: { name: string; user: string },
): Promise<string | null> {
  if (values.size === 0) return null
  const folder = await secrets.place({ instance: name, values, user })
  crashPoint('runtime.secrets')
  return folder
}

const foreignGraceMs = 1000

/** Ends containers of an environment, all at once, each with its own grace; none of it is drift. */
export async function endInstances(
  workshop: Workshop,
  { environment }: Pick<Effect, 'environment'>,
  found: readonly Found[],
): Promise<void> {
  if (found.length === 0) return
  const { docker, fence } = workshop
  const ids = found.map((one) => one.id)
  await fence.note(environment, (record) => noteEnding(record, ids))
  workshop.crashPoint('runtime.ending')
  await Promise.all(
    found.map(async (one) => {
      await endContainer(docker, one, one.labels?.settings.stop.graceMs ?? foreignGraceMs)
      workshop.crashPoint('runtime.ended')
    }),
  )
  await workshop.secrets.remove(found.map((one) => one.name))
  await fence.note(environment, (record) => noteGone(record, ids))
}

/** Whether Kiln itself made the container; a forged one may bear every label. */
export function isOwn({ fence }: Workshop, found: Found): boolean {
  const { labels } = found
  return labels !== null && fence.record(labels.environment).made[found.id] !== undefined
}

function isTainted({ fence }: Workshop, { labels, id }: Found): boolean {
  return labels !== null && fence.record(labels.environment).tainted[id] !== undefined
}

/**
 * Whether it also runs as Kiln started it: one that was started again by hand, or changed while it runs,
 * is Kiln's no more.
 */
export function isAsStarted(workshop: Workshop, found: Found): boolean {
  if (!isOwn(workshop, found) || found.labels === null || isTainted(workshop, found)) return false
  const started = workshop.fence.record(found.labels.environment).made[found.id]
  return started === '' || started === found.startedAt
}

/** For tests and for taking an app away: every container and the network, without grace. */
export async function removeEnvironment(
  engine: Engine,
  environment: Effect['environment'],
): Promise<void> {
  const found = await findContainers(engine, environment)
  await Promise.all(found.map(({ id }) => removeContainer(engine.docker, id)))
  const network = engine.docker.getNetwork(
    `${engine.naming.prefix}.${environment.replace('/', '.')}`,
  )
  await network.remove().catch((error: unknown) => {
    if (statusOf(error) !== 404) throw error
  })
}
