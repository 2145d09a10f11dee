import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { Digest } from '../domain/digest.ts'
import { parseDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import { callDocker, statusOf } from '../docker/client.ts'
import type { RunningContainer } from '../docker/containers.ts'
import { runContainer } from '../docker/containers.ts'
import { pullByDigest } from '../docker/images.ts'
import { repackTar } from '../oci/context.ts'
import { openBlob } from '../oci/read-image.ts'
import { oneChunk } from '../oci/write-image.ts'
import { blobKey } from '../store/blob-store.ts'
import { removeAttempt } from './engine-remains.ts'
import { fetchRepository, labelsOfBuild } from './names.ts'
import { npmContainer, npmInput, projectFolder } from './npm-container.ts'
import { npmError } from './npm-error.ts'
import { checkNpmLock } from './npm-lock.ts'
import type { BuildDependencies } from './ports.ts'
import type { NpmFiles } from './source-files.ts'
import { readNpmFiles } from './source-files.ts'
import { createStepLog } from './step-log.ts'

export type FetchDependenciesInput = { build: string; context: Digest; template: CheckedTemplate }
export type FetchDependenciesResult = {
  /** Blob: a canonical tar that holds `node_modules/`; null when the template fetches nothing. */
  dependencies: Digest | null
}

/**
 * Fetches what the source's lock files name, in a step of its own with a network that sees only those.
 * The same lock files and the same fetch image always give the same blob, and are fetched once. Throws
 * `lock_missing`, `lock_mismatch`, `fetch_failed`, and the outages of engine, registry and store.
 */
export async function fetchDependencies(
  deps: BuildDependencies,
  input: FetchDependenciesInput,
  signal: AbortSignal,
): Promise<FetchDependenciesResult> {
  const { dependencies, images } = input.template
  if (dependencies === 'none') return { dependencies: null }
  if (images.fetch === null) {
    throw new KilnError('invalid_input', 'the template has no image that fetches dependencies')
  }
  await removeAttempt(deps.docker, { builder: deps.builder, build: input.build })
  const files = await readNpmFiles(await openBlob(deps.store, input.context))
  checkNpmLock(files.lock.toString('utf8'))
  const key = `cache/dependencies/${keyOf(images.fetch, files)}`
  const cached = await readCached(deps, key)
  if (cached !== undefined) {
    deps.log(input.build, `dependencies: ${cached} (these lock files were fetched before)`)
    return { dependencies: cached }
  }
  const fetched = await fetchWithNpm(
    deps,
    { build: input.build, image: images.fetch, files },
    signal,
  )
  deps.crashPoint?.('build.fetched')
  await deps.store.put(key, Buffer.from(`${fetched}\n`))
  deps.log(input.build, `dependencies: ${fetched}`)
  return { dependencies: fetched }
}

/** The first part is the version of what is fetched and how it is packed. */
function keyOf(image: Digest, { manifest, lock }: NpmFiles): string {
  const sums = [manifest, lock].map((bytes) => createHash('sha256').update(bytes).digest('hex'))
  return createHash('sha256')
    .update(['npm-1', image, ...sums].join('\n'))
    .digest('hex')
}

async function readCached({ store }: BuildDependencies, key: string): Promise<Digest | undefined> {
  const bytes = await store.get(key)
  if (bytes === undefined) return undefined
  const digest = parseDigest(Buffer.from(bytes).toString('utf8').trim())
  return (await store.size(blobKey(digest))) === undefined ? undefined : digest
}

const mostLines = 5000

type NpmFetch = { build: string; image: Digest; files: NpmFiles }

async function fetchWithNpm(
  deps: BuildDependencies,
  { build, image, files }: NpmFetch,
  parent: AbortSignal,
): Promise<Digest> {
  const decoder = new TextDecoder()
  const timeout = AbortSignal.timeout(deps.limits.fetchTimeoutMs)
  const signal = AbortSignal.any([parent, timeout])
  const said: string[] = []
  const log = createStepLog(
    (line) => {
      if (said.length < mostLines) said.push(line)
      deps.log(build, line)
    },
    (line) => withoutRegistry(deps, line),
  )
  try {
    const reference = await pullFetchImage(deps, image, signal)
    const labels = labelsOfBuild({ builder: deps.builder, build })
    const options = npmContainer(reference, { ...deps, labels })
    const { caFile } = deps.npm
    const input = await npmInput(files, caFile === null ? null : await readFile(caFile))
    return await runContainer(
      deps.docker,
      {
        options,
        signal,
        onOutput: (bytes) => log.write(decoder.decode(bytes, { stream: true })),
        prepare: async (container) => {
          await callDocker(() => container.putArchive(input, { path: '/work' }), signal)
        },
      },
      async (container, exitCode) => {
        log.end()
        if (exitCode !== 0) throw npmError(exitCode, said)
        deps.crashPoint?.('build.npm-ran')
        return storeModules(deps, container, signal)
      },
    )
  } catch (error) {
    if (timeout.aborted && !parent.aborted) {
      throw new KilnError('fetch_failed', 'npm took too long', { lines: log.last() })
    }
    throw error
  }
}

async function pullFetchImage(
  { docker, registry }: BuildDependencies,
  manifest: Digest,
  signal: AbortSignal,
): Promise<string> {
  await registry.publish({ repository: fetchRepository, manifest })
  const image = { repository: `${registry.address}/${fetchRepository}`, digest: manifest }
  return pullByDigest(docker, image, { auth: registry.auth, signal })
}

/** npm's own time for every file; the context gives them the commit's. */
const npmTime = 499_162_500

/** npm's note of what it installed names the registry that it used, so it is left out. */
const notes = 'node_modules/.package-lock.json'

async function storeModules(
  { store, scratchFolder }: BuildDependencies,
  container: RunningContainer,
  signal: AbortSignal,
): Promise<Digest> {
  const options = { mtime: npmTime, spoolFolder: scratchFolder, twins: 'unicode' } as const
  const packed = repackTar(await modulesOf(container, signal), {
    ...options,
    keep: (path) => path !== notes,
  })
  return (await store.putBlob(packed)).digest
}

/** A lock file without packages leaves no folder behind. */
async function modulesOf(
  container: RunningContainer,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  try {
    const archive = await container.getArchive({
      path: `${projectFolder}/node_modules`,
      abortSignal: signal,
    })
    return Readable.from(archive) as AsyncIterable<Uint8Array>
  } catch (error) {
    if (statusOf(error) === 404) return oneChunk(Buffer.alloc(1024))
    throw error
  }
}

/** The machine's registry may be named with a password in it; neither belongs into a log. */
function withoutRegistry({ npm }: BuildDependencies, text: string): string {
  if (npm.registry === null || !URL.canParse(npm.registry)) return text
  const { host, origin } = new URL(npm.registry)
  return [npm.registry, origin, host].reduce(
    (clean, secret) => clean.replaceAll(secret, '<registry>'),
    text,
  )
}
