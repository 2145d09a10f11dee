import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Definition } from '../../src/domain/definition.ts'
import { digestOfHex, type Digest } from '../../src/domain/digest.ts'
import type { Effect } from '../../src/domain/effect.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { createDocker, type DockerClient } from '../../src/docker/client.ts'
import {
  runtimeActivities,
  type RuntimeDependencies,
  type StartRequest,
} from '../../src/runtime/activities.ts'
import { openFence, type HostFence } from '../../src/runtime/fence.ts'
import { pullFrom } from '../../src/runtime/image.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import { rehearsals } from '../../src/runtime/rehearsal.ts'
import { memoryFolder, openSecretFiles } from '../../src/runtime/secret-files.ts'
import { environmentSecrets, fileSecrets } from '../../src/runtime/secret-source.ts'
import { instanceImages, type InstanceImages } from '../helpers/instance-image.ts'

export const docker = createDocker({ socketPath: '/var/run/docker.sock' })
export const environment: EnvironmentName = 'hello/prod'
export const logger = pino({ level: 'silent' })
export const attempt = () => ({ signal: new AbortController().signal, heartbeat: () => undefined })

export const definition: Definition = {
  version: 1,
  environment: 'prod',
  port: 8080,
  readiness: { path: '/ready', intervalMs: 200, timeoutMs: 1000 },
  resources: { memoryMb: 128, cpus: 1, pids: 64 },
  config: {},
  start: { timeoutMs: 20_000 },
  stop: { graceMs: 5000, drainMs: 5000 },
  strategy: 'rolling',
}

export const keyLeaf = (number: number) => String(number).repeat(64).slice(0, 64)

/** A definition and its digest; tests need only that equal content has equal digests. */
export function defined(change: Partial<Definition> = {}): { digest: Digest; body: Definition } {
  const body = { ...definition, ...change }
  const hex = createHash('sha256').update(JSON.stringify(body)).digest('hex')
  return { digest: digestOfHex(hex), body }
}

export type HostAtHand = Awaited<ReturnType<typeof hostAtHand>>

/**
 * One host on the real engine with names of its own, and the ledger's answers at hand: `admitted` holds
 * which artifacts it admits, `definitions` what the digests mean.
 */
export async function hostAtHand(
  options: { docker?: DockerClient; isUnresponsive?: (id: string) => boolean } = {},
) {
  const prefix = `kt${randomBytes(4).toString('hex')}`
  const folder = await mkdtemp(join(tmpdir(), 'kiln-host-'))
  const own = options.docker ?? docker
  const naming = { host: prefix, prefix }
  const images: InstanceImages = await instanceImages(docker)
  const admitted = new Set<Digest>()
  /** What it admits for a rehearsal alone. */
  const targets = new Set<Digest>()
  const definitions = new Map<Digest, Definition>()
  /** What the host's worker was started with. */
  const variables: Record<string, string> = {}

  const secrets = {
    sources: { file: fileSecrets(join(folder, 'secrets')), env: environmentSecrets(variables) },
    files: openSecretFiles(join(memoryFolder(), `kiln-test-${prefix}`)),
  }

  const dependenciesWith = (fence: HostFence): RuntimeDependencies => ({
    docker: own,
    naming,
    fence,
    admission: {
      async check({ digest, definition: wanted, rehearsal = false }) {
        const body = definitions.get(wanted)
        if (!(rehearsal ? targets : admitted).has(digest) || body === undefined) {
          throw new KilnError('refused', `${digest} is not admissible in ${environment}`)
        }
        return { definition: body }
      },
    },
    pull: pullFrom(own, images.registry),
    secrets,
    logger,
    now: () => new Date(),
    activity: attempt,
    isUnresponsive: options.isUnresponsive ?? (() => false),
  })

  let current: HostFence = await openFence({ folder })
  return {
    naming,
    folder,
    images,
    admitted,
    targets,
    definitions,
    variables,
    secretFolder: join(folder, 'secrets'),
    /** Where instances' values are. */
    givenFolder: join(memoryFolder(), `kiln-test-${prefix}`),
    get fence() {
      return current
    },
    get activities() {
      return runtimeActivities(dependenciesWith(current))
    },
    get rehearsals() {
      return rehearsals(dependenciesWith(current))
    },
    /** Lets another process be the host meanwhile; then a new one, as after its death. */
    async handedOver<T>(work: () => Promise<T>): Promise<T> {
      current.close()
      try {
        return await work()
      } finally {
        current = await openFence({ folder })
      }
    },
    /** As the host reaches it. */
    engine: { docker: own, naming },
    /** A published, admitted artifact. */
    async artifact(env: Record<string, string>, user?: string): Promise<Digest> {
      const digest = await images.publish('hello', { env, ...(user === undefined ? {} : { user }) })
      admitted.add(digest)
      return digest
    },
    define(change: Partial<Definition> = {}): Digest {
      const { digest, body } = defined(change)
      definitions.set(digest, body)
      return digest
    },
    async close() {
      current.close()
      await removeEnvironment({ docker, naming }, environment)
      await images.close()
      await rm(folder, { recursive: true, force: true })
      await rm(join(memoryFolder(), `kiln-test-${prefix}`), { recursive: true, force: true })
    },
  }
}

export function effectOf(epoch: number): Effect {
  return { environment, epoch, change: `change.hello.prod.${epoch}` }
}

export function startOf(
  epoch: number,
  what: { digest: Digest; definition: Digest } & Partial<StartRequest>,
): StartRequest {
  return { ...effectOf(epoch), key: keyLeaf(epoch), sequence: epoch, count: 2, keep: [], ...what }
}

/** The container as the engine tells of it. */
export function inspect(name: string) {
  return docker.getContainer(name).inspect()
}

export async function containersOf({ naming }: Pick<HostAtHand, 'naming'>): Promise<string[]> {
  const listed = await docker.listContainers({
    all: true,
    filters: JSON.stringify({ name: [`^/${naming.prefix}\\.`] }),
  })
  return listed.map((one) => (one.Names[0] ?? '').slice(1)).toSorted()
}

/** The error's code, or `nothing was thrown`. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'nothing was thrown'
  } catch (error) {
    return error instanceof KilnError ? error.code : String(error)
  }
}

/** Polls until the condition holds; the test's own time limit ends it otherwise. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 25))
}
