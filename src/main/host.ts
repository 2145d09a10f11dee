import { createDocker, type DockerClient } from '../docker/client.ts'
import { openEdgeRoom } from '../edge/activities.ts'
import {
  runtimeActivities,
  type RuntimeActivities,
  type RuntimeDependencies,
} from '../runtime/activities.ts'
import { pullFrom } from '../runtime/image.ts'
import { createJudge } from '../runtime/judge.ts'
import { rehearsals, type RehearsalActivities } from '../runtime/rehearsal.ts'
import { createLiveness } from '../runtime/liveness.ts'
import { collectLogs } from '../runtime/logs.ts'
import { scanActivities } from '../runtime/scan-activities.ts'
import { secretActivities } from '../runtime/secret-source.ts'
import { watchInstances } from '../runtime/watch.ts'
import { createAdmission } from './admission.ts'
import { withCrashPoints } from './crash-point.ts'
import type { Config } from './config.ts'
import { guardDisk, mendingShare, roomFor } from './disk-guard.ts'
import { watchEdge } from './edge-watch.ts'
import { createEngine } from './engine.ts'
import { keepHouse, type House } from './housekeeping.ts'
import { hostSecrets } from './host-secrets.ts'
import { openHostEdge } from './host-edge.ts'
import { openHostMemory, placeIn } from './host-memory.ts'
import { namingOf } from './naming.ts'
import { createExpected } from './expected.ts'
import { readDefinition, type LedgerView } from './ledger-view.ts'
import { pruneInstanceImages, pruneLogs } from './prune.ts'
import { runProcess } from './process.ts'
import {
  connectClient,
  createWorker,
  installRuntime,
  temporalActivity,
  workerIn,
} from './temporal.ts'
import { openCredentials, type RegistryCredentials } from './secrets.ts'

// The host worker: the runtime daemon's socket and the edge. It checks keys itself, from the store.
await runProcess('host', async ({ config, paths, logger, crashPoint }) => {
  installRuntime(logger)
  const { view, fence, fresh } = await openHostMemory(config, { logger, now })
  const docker = createDocker({ socketPath: config.docker.runtime })
  const registry = registryAccess(config, await openCredentials(paths.credentials))
  const naming = namingOf(config.hostName)
  const shared = { fence, logger, now, activity: temporalActivity, crashPoint }
  const [onEngine, edge] = [{ ...shared, docker, naming }, openHostEdge(config, shared)]
  const [liveness, secrets] = [createLiveness(), hostSecrets(config, process.env)]
  const room = openEdgeRoom({
    ...shared,
    ...edge.settings,
    placeOf: (name) => placeIn(view.reader.ledger(), name),
    definition: (digest) => readDefinition(view.store, digest),
  })
  const instances = instancesOf({
    ...onEngine,
    admission: createAdmission(view, { deny: fence.deny, demandFresh: fresh.demand }),
    pull: pullFrom(docker, registry),
    secrets,
    isUnresponsive: liveness.isUnresponsive,
  })
  const activities = {
    ...instances.activities,
    ...secretActivities(secrets),
    ...room.activities,
  }
  const client = await connectClient(config.temporal.address)
  const engine = createEngine({ client, host: config.hostName })
  const watched = { ...onEngine, expected: createExpected(view), onDrift: engine.drift }
  const judge = createJudge({ ...watched, secrets: secrets.files, edge: room.mend })
  const onLedger = { ledger: view.reader.refresh, onDrift: engine.drift }
  const stopping = new AbortController()
  const house = keepHouse(() => pruneHost({ config, view, docker }, instances.sweep), logger)
  const background = Promise.all([
    liveness.watch(watched, stopping.signal),
    ...[fresh, edge].map((one) => one.watch(stopping.signal)),
    watchInstances({ ...onEngine, judge }, stopping.signal),
    watchEdge({ ...onLedger, edge: edge.settings.edge.read, logger }, stopping.signal),
    collectLogs({ docker, naming, folder: paths.instanceLogs, logger }, stopping.signal),
  ])
  const worker = await createWorker({
    ...workerIn({ config, paths, logger }, 'host'),
    taskQueue: `host.${config.hostName}`,
    activities: {
      ...withCrashPoints(tidy(activities, { config, docker, house }), crashPoint),
      ...scanActivities({ judge }),
    },
    concurrent: 20,
  })
  const working = worker.run()
  return {
    async close() {
      worker.shutdown()
      stopping.abort()
      await Promise.all([working, background, house.close()])
      fence.close()
    },
  }
})

/** What is done with instances, those aside included; `sweep` ends what a dead host left of these. */
function instancesOf(runtime: RuntimeDependencies) {
  const { activities, sweep } = rehearsals(runtime)
  return { activities: { ...runtimeActivities(runtime), ...activities }, sweep }
}

type Around = { config: Config; docker: DockerClient; house: House }

/** Nothing is started on a full disk, and what a change no longer needs is removed after it. */
function tidy<A extends RuntimeActivities & RehearsalActivities>(
  activities: A,
  { config, docker, house }: Around,
): A {
  const room = roomFor(config, { docker, minimum: mendingShare(config.minFree) })
  const guarded = guardDisk(activities, ['startInstances', 'rehearse'], room)
  return {
    ...guarded,
    async stopInstances(request: Parameters<A['stopInstances']>[0]) {
      await guarded.stopInstances(request)
      house.soon()
    },
  }
}

function now(): Date {
  return new Date()
}

type Pruning = { config: Config; view: LedgerView; docker: DockerClient }

/** Also ends what a rehearsal left whose host died. */
async function pruneHost(host: Pruning, sweep: () => Promise<void>) {
  await sweep()
  const { store, reader } = host.view
  const input = { config: host.config, store, ledger: reader.refresh, now, dryRun: false }
  return [...(await pruneInstanceImages(host.docker, input)), ...(await pruneLogs(input))]
}

function registryAccess({ ports }: Config, { host: password }: RegistryCredentials) {
  return { address: `127.0.0.1:${ports.registry}`, auth: { username: 'host', password } }
}
