import type { Logger } from 'pino'
import type { Definition } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import type { Attempt, Effect, Endpoint } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import type { Leaf } from '../domain/statement.ts'
import type { DockerClient } from '../docker/client.ts'
import { ensureNetwork, findContainers, type Found } from './engine.ts'
import type { HostFence } from './fence.ts'
import { noteGone, takeKey } from './host-record.ts'
import type { Pull } from './image.ts'
import { endInstances, ensureInstance, isAsStarted, isOwn, type Workshop } from './instances.ts'
import { networkName, type Naming } from './label.ts'
import { faultOf } from './probe.ts'
import { waitUntilReady } from './ready.ts'
import { resolveSecrets, type SecretSources } from './secret-source.ts'
import type { SecretFiles } from './secret-files.ts'

/** What a host asks before it starts anything. `seen` is what it saw before: a ledger that ends earlier is not believed. */
export type AdmissionRequest = {
  environment: EnvironmentName
  digest: Digest
  definition: Digest
  key: Leaf
  seen: { epoch: number; sequence: number }
  /** Aside and without traffic: then the rollback target is admitted, and nothing else. */
  rehearsal?: true
}

/**
 * Verifies for the host itself that the key is valid and that the ledger admits the pair here, and gives
 * the definition's content, checked against its digest. Throws `verification_failed` or `refused`.
 */
export type Admission = {
  check: (request: AdmissionRequest) => Promise<{ definition: Definition }>
}

export type RuntimeDependencies = {
  docker: DockerClient
  naming: Naming
  fence: HostFence
  admission: Admission
  pull: Pull
  /** Where values come from, and where instances find them. */
  secrets: { sources: SecretSources; files: SecretFiles }
  logger: Logger
  now: () => Date
  /** The activity that is running now, as Temporal's context knows it. */
  activity: () => Attempt
  crashPoint?: (name: string) => void
  /** Whether the instance failed its liveness probe for good: it is replaced, whatever it answers now. */
  isUnresponsive?: (id: string) => boolean
}

export type Instance = Endpoint & {
  digest: Digest
  definition: Digest
  key: Leaf
  epoch: number
  /** The engine's word: `running`, `exited`, `paused`, … */
  state: string
  /** Runs as this host started it, answers its readiness probe now, and was not found unresponsive. */
  healthy: boolean
}

export type StartRequest = Effect & {
  key: Leaf
  digest: Digest
  definition: Digest
  sequence: number
  /** How many to start, beside those that are kept. */
  count: number
  /** Names of instances that serve and stay; nothing here touches them. */
  keep: readonly string[]
}

/** Changes that began before an update of Kiln may look without an epoch. */
export type ObserveRequest = Effect | { environment: EnvironmentName }

type Observer = Workshop & { isUnresponsive: (id: string) => boolean }

export type RuntimeActivities = ReturnType<typeof runtimeActivities>

/** Everything a host does with instances. Each may be repeated, and killed after its work. */
export function runtimeActivities(dependencies: RuntimeDependencies) {
  const { fence, activity, logger } = dependencies
  const workshop: Observer = {
    ...dependencies,
    secrets: dependencies.secrets.files,
    crashPoint: dependencies.crashPoint ?? (() => undefined),
    isUnresponsive: dependencies.isUnresponsive ?? (() => false),
  }

  return {
    /**
     * What runs, without what Kiln did not make. For a change its epoch is taken before: what an earlier one
     * may still be trying changes nothing of it any more.
     */
    observe: (request: ObserveRequest): Promise<{ instances: Instance[] }> =>
      'epoch' in request
        ? fence.run(request, activity(), () => observe(workshop, request))
        : observe(workshop, request),

    /**
     * Starts `count` instances of the artifact under the key; answers with these alone. Refuses before
     * anything is made: an old epoch, another key in the same epoch, a denied digest, what admission says.
     */
    startInstances: (request: StartRequest): Promise<{ instances: Endpoint[] }> =>
      fence.run(request, activity(), (signal) =>
        start({ dependencies, workshop }, request, signal),
      ),

    /** Waits until all answer their readiness path. Throws `change_failed` with the failing one's last lines. */
    async waitReady(
      request: Effect & { definition: Digest; instances: readonly Endpoint[] },
    ): Promise<void> {
      const found = await findContainers(workshop, request.environment)
      const network = networkName(workshop.naming, request.environment)
      const attempt = fenced(fence, request, activity())
      await Promise.all(
        request.instances.map(({ name, id }) => {
          const labels = found.find((one) => one.id === id)?.labels
          if (!labels || labels.definition !== request.definition) {
            throw new KilnError('change_failed', `the instance ${name} is gone`, { place: name })
          }
          return waitUntilReady(
            dependencies,
            { name, id, network, settings: labels.settings },
            attempt,
          )
        }),
      )
    },

    /** Ends everything of the environment that is not kept, what Kiln did not make included. */
    stopInstances: (request: Effect & { keep: readonly string[] }): Promise<void> =>
      fence.run(request, activity(), async () => {
        const found = await findContainers(workshop, request.environment)
        const ending = found.filter(
          (one) => !(request.keep.includes(one.name) && isOwn(workshop, one)),
        )
        await endInstances(workshop, request, ending)
        await forgetMissing(fence, request.environment, found)
        const left = found.filter((one) => !ending.includes(one)).map((one) => one.name)
        const prefix = `${networkName(workshop.naming, request.environment)}.`
        await workshop.secrets.removeOthers(prefix, left)
        logger.info(
          { environment: request.environment, ended: ending.map((one) => one.name) },
          'instances ended',
        )
      }),
  }
}

/** What somebody else removed is gone too, and this is all that is left. */
async function forgetMissing(
  fence: HostFence,
  environment: EnvironmentName,
  found: readonly Found[],
): Promise<void> {
  const there = new Set(found.map((one) => one.id))
  await fence.note(environment, (record) =>
    noteGone(
      record,
      Object.keys(record.made).filter((id) => !there.has(id)),
    ),
  )
}

async function start(
  { dependencies, workshop }: { dependencies: RuntimeDependencies; workshop: Workshop },
  request: StartRequest,
  signal: AbortSignal,
): Promise<{ instances: Endpoint[] }> {
  const { admission, fence, pull } = dependencies
  const { environment, digest, definition: definitionDigest, key, sequence } = request
  const seen = fence.record(environment)
  const { definition } = await admission.check({
    environment,
    digest,
    definition: definitionDigest,
    key,
    seen: { epoch: seen.epoch, sequence: seen.sequence },
  })
  if (fence.isDenied(digest)) {
    throw new KilnError('refused', `this host has seen ${digest} denied`, { place: 'denied' })
  }
  await fence.note(environment, (record) => takeKey(record, { leaf: key, sequence }))
  workshop.crashPoint('runtime.keyed')
  const secrets =
    request.count === 0
      ? new Map<string, Uint8Array>()
      : await resolveSecrets(dependencies.secrets.sources, definition.secrets ?? {})
  const { app } = parseEnvironmentName(environment)
  const imageId = await pull({ app, digest, signal })
  workshop.crashPoint('runtime.pulled')
  const network = await ensureNetwork(workshop, environment)
  workshop.crashPoint('runtime.network')
  signal.throwIfAborted()
  const mould = {
    effect: effectOf(request),
    key,
    digest,
    definitionDigest,
    definition,
    imageId,
    network,
    secrets,
  }
  const instances = await Promise.all(
    Array.from({ length: request.count }, (_, index) => ensureInstance(workshop, mould, index + 1)),
  )
  dependencies.logger.info(
    { environment, epoch: request.epoch, started: instances.map((one) => one.name) },
    'instances started',
  )
  return { instances }
}

function effectOf({ environment, epoch, change }: Effect): Effect {
  return { environment, epoch, change }
}

/** An attempt whose every sign of life first asks whether its epoch still counts. */
function fenced(fence: HostFence, effect: Effect, attempt: Attempt): Attempt {
  return {
    signal: attempt.signal,
    heartbeat: () => {
      fence.assertCurrent(effect)
      attempt.heartbeat()
    },
  }
}

async function observe(
  workshop: Observer,
  { environment }: ObserveRequest,
): Promise<{ instances: Instance[] }> {
  const found = await findContainers(workshop, environment)
  const instances = await Promise.all(found.map((one) => observed(workshop, one)))
  return { instances: instances.filter((one) => one !== null) }
}

async function observed(workshop: Observer, found: Found): Promise<Instance | null> {
  const { labels } = found
  if (labels === null) return null
  const { port, readiness } = labels.settings
  const { address } = found
  const alive =
    found.state === 'running' &&
    address !== '' &&
    isAsStarted(workshop, found) &&
    !workshop.isUnresponsive(found.id)
  return {
    name: found.name,
    id: found.id,
    address,
    port,
    digest: labels.digest,
    definition: labels.definition,
    key: labels.key,
    epoch: labels.epoch,
    state: found.state,
    healthy: alive && (await faultOf({ address, port }, readiness)) === null,
  }
}
