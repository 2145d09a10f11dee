import { ApplicationFailure, setHandler } from '@temporalio/workflow'
import type { Digest } from '../src/domain/digest.ts'
import type { Principal, Source } from '../src/domain/statement.ts'
import type { FoundSource } from '../src/source/read-source.ts'
import { builder, control } from './activities.ts'
import { progressQuery } from './deliver-commit.ts'
import { carry, ended, step, track, type Tracked } from './tracking.ts'

type Published = {
  app: string
  source: Source
  bundles: Parameters<typeof control.publishArtifact>[0]['bundles']
}

export type RebuildInput = { id: string; digest: Digest; principal: Principal; requestedAt: string }

/** Builds a sealed artifact again from its record, without any cache, and compares. */
export async function rebuildArtifact(input: RebuildInput): Promise<void> {
  const operation = track({
    id: input.id,
    kind: 'rebuild',
    subject: input.digest,
    requestedBy: input.principal.name,
    requestedAt: input.requestedAt,
  })
  setHandler(progressQuery, () => operation)
  await carry(operation, () => buildAgain(operation, input))
}

async function buildAgain(operation: Tracked, input: RebuildInput): Promise<void> {
  await control.authorizeWork({
    principal: input.principal,
    verb: 'rebuild',
    resource: input.digest,
  })
  const record = await step(operation, 'read the record', () =>
    control.readBuildRecord({ digest: input.digest }),
  )
  const found = await findRecorded(operation, record.source)
  const build = `${record.build}-again-${input.id.slice(-8)}`
  const { dependencies } = await step(operation, 'fetch dependencies', () =>
    builder.fetchDependencies({ build, context: found.context, template: record.template }),
  )
  const built = await step(operation, 'build image', () =>
    builder.buildImage({
      build,
      app: record.app,
      context: found.context,
      dependencies,
      template: record.template,
      source: { ...found.source, repository: record.source.repository },
      useCache: false,
      like: input.digest,
    }),
  )
  await step(operation, 'compare', (note) => {
    note(built.artifact)
    return builder.compareArtifacts({
      recorded: { artifact: input.digest, files: record.files },
      rebuilt: { artifact: built.artifact, files: built.files },
    })
  })
  if (record.bundles) await publishAgain(operation, { ...record, bundles: record.bundles }, built)
  ended(operation, 'succeeded', { result: { digest: built.artifact, same: true } })
}

/** What was collected is there again, with all that was said of it. */
async function publishAgain(
  operation: Tracked,
  { app, source, bundles }: Published,
  { artifact, files }: { artifact: Digest; files: Digest },
): Promise<void> {
  const { sbom } = await step(operation, 'inspect', () => builder.makeSbom({ artifact, source }))
  await step(operation, 'publish', () =>
    control.publishArtifact({ found: { app }, artifact, files, sbom, bundles }),
  )
}

/** The commit of a record, which must hold what it held. */
async function findRecorded(
  operation: Tracked,
  { commit, path, repository, tree }: Source,
): Promise<FoundSource> {
  const found = await step(operation, 'source', () =>
    builder.resolveSource({
      repository,
      revision: commit,
      recorded: true,
      ...(path === undefined ? {} : { path }),
    }),
  )
  const now = 'apps' in found ? 'several apps' : `tree ${found.source.tree}`
  if (!('apps' in found) && found.source.tree === tree) return found
  throw ApplicationFailure.nonRetryable(
    `commit ${commit} has ${now}, the record says tree ${tree}`,
    'not_reproducible',
  )
}
