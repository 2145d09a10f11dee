import { ApplicationFailure, isCancellation, setHandler } from '@temporalio/workflow'
import type { Digest } from '../src/domain/digest.ts'
import type { Principal } from '../src/domain/statement.ts'
import { builder, control } from './activities.ts'
import { progressQuery } from './deliver-commit.ts'
import { ended, failureOf, step, throwIfFailed, track } from './tracking.ts'

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
  operation.state = 'running'
  try {
    await control.authorizeWork({
      principal: input.principal,
      verb: 'rebuild',
      resource: input.digest,
    })
    const record = await step(operation, 'read the record', () =>
      control.readBuildRecord({ digest: input.digest }),
    )
    const { repository } = record.source
    const found = await step(operation, 'source', () =>
      builder.resolveSource({
        repository,
        revision: record.source.commit,
        recorded: true,
        ...(record.source.path === undefined ? {} : { path: record.source.path }),
      }),
    )
    if ('apps' in found) {
      throw ApplicationFailure.nonRetryable('the commit holds several apps', 'not_reproducible')
    }
    if (found.source.tree !== record.source.tree) {
      throw ApplicationFailure.nonRetryable(
        `commit ${record.source.commit} has tree ${found.source.tree}, the record says ${record.source.tree}`,
        'not_reproducible',
      )
    }
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
        source: { ...found.source, repository },
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
    ended(operation, 'succeeded', { result: { digest: built.artifact, same: true } })
  } catch (error) {
    ended(operation, isCancellation(error) ? 'cancelled' : 'failed', { failure: failureOf(error) })
    throwIfFailed(operation)
    throw error
  }
}
