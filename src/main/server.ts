import type { Client } from '@temporalio/client'
import type { Webhooks } from '../api/ports.ts'
import { createApi } from '../api/server.ts'
import { servesDenied } from '../domain/plan-return.ts'
import { credentialAccess } from '../registry/access.ts'
import { createRegistry } from '../registry/server.ts'
import { replaceFile } from '../store/replace-file.ts'
import { readSecretFile } from '../store/secret-file.ts'
import { workflowBundle } from './workflow-bundle.ts'
import { controlActivities } from './control-activities.ts'
import { withCrashPoints } from './crash-point.ts'
import { createEngine, type Engine } from './engine.ts'
import { createLogs } from './logs.ts'
import { createOperations } from './operations.ts'
import { packageVersion } from './package-version.ts'
import { runProcess, type ProcessContext } from './process.ts'
import { createRegistryAdmission } from './registry-admission.ts'
import { readRepositories } from './repositories.ts'
import { keepOpenRegistry } from './open-registry.ts'
import { openCredentials, openToken, writeDockerConfig } from './secrets.ts'
import { openOwnedLedger, type OwnedLedger } from './server-ledger.ts'
import { openServerIndex, type ServerIndex } from './server-index.ts'
import { createServerViews } from './server-views.ts'
import { connectClient, createWorker, installRuntime, workerIn } from './temporal.ts'
import { setRetention } from './temporal-retention.ts'
import { createSigningKeys } from './signing-keys.ts'
import { createWatches } from './watches.ts'
import { createWebhooks } from './webhooks.ts'

// The server: API, registry (pull), the log's head, the SQL index and the control worker. It holds no
// signing key and no Docker socket.
await runProcess('server', async (context) => {
  const { config, paths, logger, crashPoint } = context
  const version = packageVersion()
  installRuntime(logger)
  const owned = await openOwnedLedger(context)
  const { store, ledger } = owned
  const registries = await openRegistries(context, owned)
  const index = await openServerIndex({ config, ledger, store, logger })
  const client = await connectClient(config.temporal.address)
  const engine = createEngine({ client, host: config.hostName })
  await setRetention(client, config, logger)
  const operations = createOperations({
    engine,
    ledger: ledger.refresh,
    facts: () => ledger.facts(),
    now: () => new Date(),
  })
  const { webhooks } = index
  const activities = await controlActivities({ context, owned, engine, webhooks, version })
  const worker = await createWorker({
    ...workerIn({ config, paths, logger }, 'server'),
    taskQueue: 'control',
    activities: withCrashPoints(activities, crashPoint),
    bundlePath: await workflowBundle(paths.run),
    concurrent: 40,
  })
  const working = worker.run()
  const watches = keepWatches(context, client)
  const api = await createApi({
    logger,
    version,
    token: { name: 'token', secret: await openToken(paths.token) },
    requests: store,
    operations,
    watches,
    webhooks: serverWebhooks(context, index, watches),
    views: createServerViews({ context, owned, history: index.history, engine, version }),
    logs: createLogs(config, operations.get),
    ledger: { ...index.files, freshness: owned.freshness, log: owned.log },
    signingKeys: createSigningKeys(owned),
  })
  await wakeOpenChanges(owned, engine)
  await api.listen({ host: '127.0.0.1', port: config.ports.api })
  const address = `http://127.0.0.1:${config.ports.api}`
  // Whoever waits for this file must never read half of it.
  await replaceFile(paths.api, `${JSON.stringify({ version: 1, address })}\n`, 0o644)
  return {
    async close() {
      await api.close()
      await watches.close()
      await registries.close()
      worker.shutdown()
      await working
      await index.close()
      owned.close()
    },
  }
})

/** What the log says is open must get an outcome, and what was denied must go, also when the work in flight was lost. */
async function wakeOpenChanges({ ledger }: OwnedLedger, engine: Engine): Promise<void> {
  const known = await ledger.refresh()
  for (const state of known.environments.values()) {
    const { closed, environment, open } = state
    const change = open ?? (servesDenied(known, state) ? closed : null)
    if (change !== null) await engine.wake(environment, change.body.change)
  }
}

/** Watched repositories, worked on for as long as the server runs. */
function keepWatches({ config, paths, logger }: ProcessContext, client: Client) {
  const watches = createWatches({
    client,
    everyMs: config.watchEveryMs,
    file: paths.watches,
    logger,
  })
  const stopping = new AbortController()
  const keeping = watches.keep(stopping.signal)
  return {
    ...watches,
    async close() {
      stopping.abort()
      await keeping
    },
  }
}

/** What forges announce, with the secrets that people named for their repositories. */
function serverWebhooks(
  { config, logger }: ProcessContext,
  { webhooks }: ServerIndex,
  watches: Pick<ReturnType<typeof createWatches>, 'list' | 'hint'>,
): Webhooks {
  return createWebhooks({
    repositories: () => readRepositories(config.home),
    readSecret: readSecretFile,
    memory: webhooks,
    watches,
    logger,
    now: () => new Date(),
  })
}

/** The pull half, for hosts and readers; what hosts may pull is asked of the ledger each time. */
async function openRegistries(
  { config, paths, logger }: ProcessContext,
  { store, ledger }: OwnedLedger,
): Promise<{ close(): Promise<void> }> {
  const { reader, host } = await openCredentials(paths.credentials)
  await writeDockerConfig(paths.dockerConfig, `127.0.0.1:${config.ports.registry}`, reader)
  const access = credentialAccess([
    { kind: 'reader', username: 'reader', password: reader },
    { kind: 'host', username: 'host', password: host },
  ])
  const dependencies = { store, access, admissible: createRegistryAdmission(ledger), logger }
  const own = await createRegistry({ port: config.ports.registry, ...dependencies })
  const open = await keepOpenRegistry(config, dependencies)
  return {
    async close() {
      await open.close()
      await own.close()
    },
  }
}
