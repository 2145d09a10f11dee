import { createDocker } from '../docker/client.ts'
import { edgeActivities } from '../edge/activities.ts'
import { runtimeActivities } from '../runtime/activities.ts'
import { openFence } from '../runtime/fence.ts'
import { pullFrom } from '../runtime/image.ts'
import { createAdmission } from './admission.ts'
import { crashAfterWork } from './crash-point.ts'
import { edgePathsOf } from './edge-paths.ts'
import { openLedgerView, readDefinition } from './ledger-view.ts'
import { runProcess } from './process.ts'
import { openCredentials } from './secrets.ts'
import { createWorker, installRuntime, temporalActivity } from './temporal.ts'

// The host worker: the runtime daemon's socket and the edge. It checks keys itself, from the store.
await runProcess('host', async ({ config, paths, logger, crashPoint }) => {
  installRuntime(logger)
  const view = await openLedgerView(paths, logger)
  const docker = createDocker({ socketPath: config.docker.runtime })
  const { host: password } = await openCredentials(paths.credentials)
  const registry = {
    address: `127.0.0.1:${config.ports.registry}`,
    auth: { username: 'host', password },
  }
  const fence = await openFence({ folder: paths.host })
  const now = () => new Date()
  const shared = { fence, logger, now, activity: temporalActivity, crashPoint }
  const activities = {
    ...runtimeActivities({
      ...shared,
      docker,
      naming: namingOf(config.hostName),
      admission: createAdmission(view),
      pull: pullFrom(docker, registry),
    }),
    ...edgeActivities({
      ...shared,
      paths: edgePathsOf(paths),
      ports: { first: config.ports.edgeFirst, last: config.ports.edgeLast },
      definition: (digest) => readDefinition(view.store, digest),
    }),
  }
  const worker = await createWorker({
    address: config.temporal.address,
    taskQueue: `host.${config.hostName}`,
    activities: crashAfterWork(activities, crashPoint),
    concurrent: 20,
    logger,
  })
  const working = worker.run()
  return {
    async close() {
      worker.shutdown()
      await working
      fence.close()
    },
  }
})

/** Names of what Kiln makes in the engine: two hosts may share one. */
function namingOf(host: string): { host: string; prefix: string } {
  return { host, prefix: host === 'local' ? 'kiln' : `kiln-${host}` }
}
