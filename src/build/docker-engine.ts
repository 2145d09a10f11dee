import type { EngineBuildOptions } from '../docker/build.ts'
import { buildWithEngine } from '../docker/build.ts'
import type { DockerClient } from '../docker/client.ts'
import { callDocker } from '../docker/client.ts'
import { pullByDigest, pushImage, removeImage } from '../docker/images.ts'
import { KilnError } from '../domain/error.ts'
import type { BuildEngine, EngineRequest } from './engine.ts'
import type { Mark } from './engine-marks.ts'
import { markBuild } from './engine-marks.ts'
import { removeAttempt, sweepEngine } from './engine-remains.ts'
import type { BuildOwner } from './names.ts'
import { baseRepository, cacheTag, captureName, labelsOfBuild } from './names.ts'
import type { BuildDependencies, BuildLimits } from './ports.ts'

const tag = 'built'

type Engine = Pick<BuildDependencies, 'docker' | 'builder' | 'registry' | 'limits' | 'crashPoint'>

/**
 * The Docker Engine's classic builder. The base is pulled by digest from Kiln's registry, nothing else
 * is ever fetched, and what was built is pushed back into that registry.
 */
export function createDockerEngine(engine: Engine): BuildEngine {
  const { docker, builder, limits } = engine
  return {
    async build(request) {
      const owner = { builder, build: request.build }
      const base = await pullBase(engine, request)
      await removeAttempt(docker, owner)
      const mark = await markBuild(docker, { ...owner, base: request.base })
      engine.crashPoint?.('build.marked')
      const sweep = { base, mark, oldestMs: 2 * limits.buildTimeoutMs }
      try {
        await sweepEngine(docker, sweep)
        return await buildAndPush(engine, request, base)
      } finally {
        await sweepAfter(docker, owner, sweep)
      }
    },
  }
}

/** The build's own outcome counts, not that an engine which went away could not be tidied up. */
async function sweepAfter(
  docker: DockerClient,
  owner: BuildOwner,
  sweep: { base: string; mark: Mark; oldestMs: number },
): Promise<void> {
  try {
    await removeAttempt(docker, owner)
    await sweepEngine(docker, sweep)
  } catch {
    // The next attempt begins with the same.
  }
}

async function pullBase({ docker, registry }: Engine, request: EngineRequest): Promise<string> {
  await registry.publish({ repository: baseRepository, manifest: request.base })
  const image = { repository: `${registry.address}/${baseRepository}`, digest: request.base }
  return pullByDigest(docker, image, { auth: registry.auth, signal: request.signal })
}

async function buildAndPush(
  engine: Engine,
  request: EngineRequest,
  base: string,
): Promise<Uint8Array> {
  const { docker, registry, limits } = engine
  const name = captureName(request.build)
  const repository = `${registry.address}/${name}`
  const id = await buildWithEngine(docker, {
    context: await request.context(base),
    options: {
      ...optionsOf(request, `${repository}:${tag}`, limits),
      labels: labelsOfBuild({ builder: engine.builder, build: request.build }),
    },
    signal: request.signal,
    silenceMs: limits.silenceMs,
    onText: request.onText,
  })
  engine.crashPoint?.('build.built')
  const digest = await pushImage(
    docker,
    { repository, tag },
    { ...registry, signal: request.signal },
  )
  engine.crashPoint?.('build.pushed')
  const pushed = registry.take({ name, reference: tag })
  if (pushed?.digest !== digest) {
    throw new KilnError('registry_unavailable', `the push of ${digest} did not arrive`)
  }
  if (request.useCache) await keepCache(docker, id, request.app)
  return pushed.bytes
}

function optionsOf(
  request: EngineRequest,
  reference: string,
  limits: BuildLimits,
): EngineBuildOptions {
  const memory = limits.memoryMb * 1024 * 1024
  return {
    t: reference,
    dockerfile: 'Dockerfile',
    networkmode: 'none',
    rm: true,
    forcerm: true,
    nocache: !request.useCache,
    memory,
    memswap: memory,
    cpuperiod: 100_000,
    cpuquota: Math.round(limits.cpus * 100_000),
  }
}

/** One name for each app keeps the engine from removing the steps that its next build may reuse. */
async function keepCache(docker: DockerClient, id: string, app: string): Promise<void> {
  const [repo = '', name = ''] = cacheTag(app).split(':')
  await callDocker(() => docker.getImage(id).tag({ repo, tag: name }))
}

/** Gives up what the engine keeps of an app for its next build. */
export async function forgetCache(docker: DockerClient, app: string): Promise<void> {
  await removeImage(docker, cacheTag(app))
}
