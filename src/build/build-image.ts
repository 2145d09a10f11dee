import { text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Source } from '../domain/statement.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import { packContext } from '../oci/context.ts'
import { repositoryLabel } from '../oci/config.ts'
import { openBlob, readImage } from '../oci/read-image.ts'
import { blobKey } from '../store/blob-store.ts'
import type { CanonicalArtifact } from './canonicalise.ts'
import { canonicalise } from './canonicalise.ts'
import { buildArguments, type BuildEngine } from './engine.ts'
import type { BuildDependencies } from './ports.ts'
import type { StepLog } from './step-log.ts'
import { createStepLog, placeInDockerfile, wantedNetwork } from './step-log.ts'

export type BuildImageInput = {
  build: string
  app: string
  /** Blob: the source's canonical tar. */
  context: Digest
  /** Blob: what `fetchDependencies` made. */
  dependencies: Digest | null
  template: CheckedTemplate
  source: Source
  /** Whether the engine may reuse steps of earlier builds of the app. */
  useCache: boolean
  /** The artifact that is made again: its config's form is kept. */
  like?: Digest
}
export type BuildImageResult = CanonicalArtifact & {
  /** OCI manifest of the base image that the artifact stands on. */
  base: Digest
}

/**
 * Builds the artifact of one source by one template, without a network: the same inputs give the same
 * digest. Throws `build_failed` with the instruction as its place and the last lines, `invalid_image`,
 * and the outages of engine, registry and store.
 */
export async function buildImage(
  deps: BuildDependencies & { engine: BuildEngine },
  input: BuildImageInput,
  parent: AbortSignal,
): Promise<BuildImageResult> {
  const { build, app, template, source, useCache } = input
  const base = template.images.base
  const dockerfile = await text(await openBlob(deps.store, template.dockerfile))
  const timeout = AbortSignal.timeout(deps.limits.buildTimeoutMs)
  const log = createStepLog((line) => deps.log(build, line))
  try {
    const manifest = await deps.engine.build({
      build,
      app,
      base,
      context: (reference) =>
        contextOf(
          deps,
          input,
          deps.renderDockerfile(dockerfile, {
            base: reference,
            args: buildArguments(source.committedAt),
          }),
        ),
      useCache,
      signal: AbortSignal.any([parent, timeout]),
      onText: (piece) => log.write(piece),
    })
    log.end()
    const namesRepository = input.like !== undefined && (await saysWhere(deps, input.like))
    const artifact = await canonicalise(deps, { manifest, base, app, source, namesRepository })
    deps.log(build, `artifact: ${artifact.artifact}`)
    return { ...artifact, base }
  } catch (error) {
    log.end()
    parent.throwIfAborted()
    if (timeout.aborted) {
      const failure = new KilnError('build_failed', 'the build took too long')
      throw explained(failure, { dockerfile, log })
    }
    throw error instanceof KilnError ? explained(error, { dockerfile, log }) : error
  }
}

/** One that was collected cannot be asked any more; only those from before ADR 6 said it. */
async function saysWhere({ store }: BuildDependencies, artifact: Digest): Promise<boolean> {
  if ((await store.size(blobKey(artifact))) === undefined) return false
  const { config } = await readImage(store, artifact)
  return repositoryLabel in (config.config?.Labels ?? {})
}

async function contextOf(
  { store }: BuildDependencies,
  { context, dependencies, template, source }: BuildImageInput,
  dockerfile: string,
): Promise<Readable> {
  return packContext({
    dockerfile,
    app: await openBlob(store, context),
    dependencies: dependencies === null ? null : await openBlob(store, dependencies),
    files: template.files === null ? null : await openBlob(store, template.files),
    mtime: source.committedAt,
  })
}

/** A failed build says where and what it said last. */
function explained(
  error: KilnError,
  { dockerfile, log }: { dockerfile: string; log: StepLog },
): KilnError {
  if (error.code !== 'build_failed') return error
  const lines = log.last()
  const exitCode = /returned a non-zero code: (\d+)/.exec(error.message)?.[1]
  const [keyword = 'the build'] = (log.instruction() ?? '').split(' ', 1)
  const message =
    exitCode === undefined ? error.message : `${keyword} ended with exit code ${exitCode}`
  return new KilnError('build_failed', message, {
    cause: error,
    place: placeInDockerfile(dockerfile, log.instruction()),
    lines,
    ...(wantedNetwork([...lines, error.message])
      ? { fix: 'the build step has no network; add what it needs to the lock' }
      : {}),
  })
}
