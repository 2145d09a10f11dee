import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { buildActivities } from '../build/activities.ts'
import { defaultBuildLimits, type BuildRegistry } from '../build/ports.ts'
import type { Digest } from '../domain/digest.ts'
import { createDocker, type DockerClient } from '../docker/client.ts'
import { inspectActivities } from '../inspect/activities.ts'
import { repackTar } from '../oci/context.ts'
import { credentialAccess } from '../registry/access.ts'
import { createCapture } from '../registry/capture.ts'
import { publishManifest } from '../registry/publish.ts'
import { createRegistry } from '../registry/server.ts'
import { sourceActivities } from '../source/activities.ts'
import { systemLookup } from '../source/address.ts'
import { createGit } from '../source/git.ts'
import { accessTo } from '../source/known-repository.ts'
import { createMirror } from '../source/mirror.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { holdingStore } from '../store/held-store.ts'
import { templateActivities } from '../template/activities.ts'
import { buildLog } from './build-log.ts'
import { readObjectStore } from './object-store.ts'
import { renderFrom } from './build-dockerfile.ts'
import { withCrashPoints } from './crash-point.ts'
import { gitEnvironment, isProxied } from './git-environment.ts'
import { blobBytes, openLedgerView } from './ledger-view.ts'
import { guardDisk, roomFor } from './disk-guard.ts'
import { keepHouse } from './housekeeping.ts'
import { buildLogPath } from './logs.ts'
import { packageVersion } from './package-version.ts'
import { runProcess, type ProcessContext } from './process.ts'
import { npmSettings } from './npm-settings.ts'
import { pruneBuildImages, pruneCaches } from './prune.ts'
import { readRepositories } from './repositories.ts'
import { openCredentials } from './secrets.ts'
import { templateRoom } from './template-room.ts'
import { createWorker, installRuntime, temporalActivity, workerIn } from './temporal.ts'

// The build worker: git, templates, the build daemon's socket, and a registry of its own on loopback.
await runProcess('build', async (context) => {
  const { config, paths, logger, crashPoint } = context
  installRuntime(logger)
  const store = holdingStore(readObjectStore(config.store, { readOnly: false }).store)
  const registry = await openBuildRegistry(context, store)
  const docker = createDocker({ socketPath: config.docker.build })
  const { git, mirror, scratchFolder, cacheFolder } = await openWorkplace(context)
  const activities = {
    ...sourceActivities({
      store,
      git,
      mirror,
      rules: { allowedPaths: config.repositories, allowedHosts: config.gitHosts },
      repack: (content, { mtime }) => repackTar(content, { mtime, spoolFolder: scratchFolder }),
      activity: temporalActivity,
    }),
    ...templateActivities(templateRoom(config, store, (line) => logger.info(line))),
    ...buildActivities({
      store,
      docker,
      builder: config.hostName,
      registry: registry.port,
      renderDockerfile: renderFrom,
      npm: await npmSettings(process.env),
      scratchFolder,
      cacheFolder,
      limits: defaultBuildLimits,
      log: buildLog((build) => buildLogPath(paths, build)),
      activity: temporalActivity,
      crashPoint,
    }),
    ...inspectActivities({ store, activity: temporalActivity, version: packageVersion() }),
  }
  const worker = await createWorker({
    ...workerIn({ config, paths, logger }, 'build'),
    taskQueue: 'build',
    activities: withCrashPoints(
      guardDisk(
        activities,
        ['resolveSource', 'fetchDependencies', 'buildImage'],
        roomFor(config, { docker, minimum: config.minFree }),
      ),
      crashPoint,
    ),
    concurrent: 4,
  })
  const working = worker.run()
  const house = keepHouse(() => pruneBuilds(context, docker), logger)
  return {
    async close() {
      worker.shutdown()
      await Promise.all([working, house.close()])
      await registry.close()
    },
  }
})

/** The folders of builds, and git with its mirrors. */
async function openWorkplace({ config, paths }: ProcessContext) {
  const scratchFolder = join(paths.work, 'builds')
  const cacheFolder = join(paths.work, 'cache')
  for (const folder of [scratchFolder, cacheFolder, paths.source])
    await mkdir(folder, { recursive: true })
  const environment = gitEnvironment(process.env)
  const git = createGit({ environment, maxPackBytes: 2 * 1024 ** 3, timeoutMs: 10 * 60_000 })
  const mirror = createMirror({
    git,
    folder: paths.source,
    resolve: systemLookup,
    access: async (one) => accessTo(await readRepositories(config.home), one),
    proxied: isProxied(process.env),
    now,
  })
  await mirror.sweep()
  return { git, mirror, scratchFolder, cacheFolder }
}

function now(): Date {
  return new Date()
}

async function pruneBuilds({ config, paths, logger }: ProcessContext, docker: DockerClient) {
  const { store, reader } = await openLedgerView(paths, logger, {
    place: config.store,
    root: config.root,
  })
  const input = { config, store, ledger: reader.refresh, now, dryRun: false }
  return [...(await pruneBuildImages(docker, input)), ...(await pruneCaches(input))]
}

/** The endpoint that the engine pulls base images from and pushes what it built to. */
async function openBuildRegistry(
  { config, logger, paths }: ProcessContext,
  store: BlobStore,
): Promise<{ port: BuildRegistry; close: () => Promise<void> }> {
  const { build } = await openCredentials(paths.credentials)
  const capture = createCapture(store)
  const access = credentialAccess([{ kind: 'build', username: 'build', password: build }])
  const port = config.ports.buildRegistry
  const registry = await createRegistry({
    port,
    logger,
    store,
    capture,
    access,
    admissible: async () => () => false,
  })
  const address = `127.0.0.1:${port}`
  return {
    close: registry.close,
    port: {
      address,
      auth: { username: 'build', password: build, serveraddress: address },
      async publish({ repository, manifest }: { repository: string; manifest: Digest }) {
        await publishManifest(store, { repository, manifest: await blobBytes(store, manifest) })
      },
      take: (at) => capture.take(at),
    },
  }
}
