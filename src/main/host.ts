import { createDocker } from '../docker/client.ts'
import { edgeActivities } from '../edge/activities.ts'
import { runtimeActivities } from '../runtime/activities.ts'
import { openFence } from '../runtime/fence.ts'
import { pullFrom } from '../runtime/image.ts'
import { collectLogs } from '../runtime/logs.ts'
import { secretActivities } from '../runtime/secret-source.ts'
import { watchInstances } from '../runtime/watch.ts'
import { environmentOf } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { ExpectedInstance } from '../runtime/drift.ts'
import { createAdmission } from './admission.ts'
import { withCrashPoints } from './crash-point.ts'
import type { Config } from './config.ts'
import { edgePathsOf } from './edge-paths.ts'
import { createEngine } from './engine.ts'
import { hostSecrets } from './host-secrets.ts'
import { namingOf } from './naming.ts'
import { openLedgerView, readDefinition, type LedgerView } from './ledger-view.ts'
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
  const view = await openLedgerView(paths, logger)
  const docker = createDocker({ socketPath: config.docker.runtime })
  const registry = registryAccess(config, await openCredentials(paths.credentials))
  const fence = await openFence({ folder: paths.host })
  const naming = namingOf(config.hostName)
  const shared = { fence, logger, now: () => new Date(), activity: temporalActivity, crashPoint }
  const secrets = hostSecrets(config, process.env)
  const activities = {
    ...runtimeActivities({
      ...shared,
      docker,
      naming,
      admission: createAdmission(view, fence.deny),
      pull: pullFrom(docker, registry),
      secrets,
    }),
    ...secretActivities(secrets),
    ...edgeActivities({
      ...shared,
      ...edgeSettings(config),
      definition: (digest) => readDefinition(view.store, digest),
    }),
  }
  const client = await connectClient(config.temporal.address)
  const engine = createEngine({ client, host: config.hostName })
  const stopping = new AbortController()
  const background = Promise.all([
    watchInstances(
      {
        ...shared,
        docker,
        naming,
        expected: (name) => expectedIn(view, name),
        onDrift: engine.drift,
      },
      stopping.signal,
    ),
    collectLogs({ docker, naming, folder: paths.instanceLogs, logger }, stopping.signal),
  ])
  const worker = await createWorker({
    ...workerIn({ config, paths, logger }, 'host'),
    taskQueue: `host.${config.hostName}`,
    activities: withCrashPoints(activities, crashPoint),
    concurrent: 20,
  })
  const working = worker.run()
  return {
    async close() {
      worker.shutdown()
      stopping.abort()
      await Promise.all([working, background])
      fence.close()
    },
  }
})

function edgeSettings({ paths, entrance, ports }: Config) {
  const range = { first: ports.edgeFirst, last: ports.edgeLast }
  return { paths: edgePathsOf(paths), entrance, ports: range }
}

function registryAccess({ ports }: Config, { host: password }: RegistryCredentials) {
  return { address: `127.0.0.1:${ports.registry}`, auth: { username: 'host', password } }
}

/** What the last change that went well adopted. */
async function expectedIn(
  { reader }: LedgerView,
  name: EnvironmentName,
): Promise<ExpectedInstance[]> {
  const { active, running } = environmentOf(await reader.refresh(), name)
  return running.map((one) => ({ ...one, digest: active?.body.digest ?? '' }))
}
