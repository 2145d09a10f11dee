import { setHandler } from '@temporalio/workflow'
import type { Digest } from '../src/domain/digest.ts'
import type { CheckedTemplate } from '../src/domain/template.ts'
import type { FoundSource } from '../src/source/activities.ts'
import { builder, control } from './activities.ts'
import { progressQuery } from './deliver-commit.ts'
import { ended, failureOf, step, throwIfFailed, track } from './tracking.ts'

export type BuildInput = {
  /** `build:<hash of app, commit, lock, parameters>`: the same inputs are the same build. */
  id: string
  found: FoundSource
  template: CheckedTemplate
  useCache: boolean
  requestedBy: string
}

/** One firing: locked inputs become a canonical artifact, which is signed, logged, read back and sealed. */
export async function buildArtifact(input: BuildInput): Promise<Digest> {
  const { id, found, template } = input
  const operation = track({
    id,
    kind: 'build',
    subject: `${found.app}@${found.source.commit}`,
    requestedBy: input.requestedBy,
    requestedAt: new Date().toISOString(),
  })
  setHandler(progressQuery, () => operation)
  operation.state = 'running'
  try {
    const { dependencies } = await step(operation, 'fetch dependencies', () =>
      builder.fetchDependencies({ build: id, context: found.context, template }),
    )
    const built = await step(operation, 'build image', () =>
      builder.buildImage({
        build: id,
        app: found.app,
        context: found.context,
        dependencies,
        template,
        source: found.source,
        useCache: input.useCache,
      }),
    )
    const { sbom } = await step(operation, 'inspect', (note) =>
      builder.makeSbom({ artifact: built.artifact, source: found.source }).then((made) => {
        note(`${made.components} components`)
        return made
      }),
    )
    const made = {
      build: id,
      found,
      template,
      artifact: built.artifact,
      files: built.files,
      dependencies,
      sbom,
    }
    const signed = await step(operation, 'sign and log', () => control.signArtifact(made))
    await step(operation, 'publish', () => control.publishArtifact({ ...made, ...signed }))
    await step(operation, 'read back and seal', (note) => {
      note(built.artifact)
      return control.sealArtifact({ ...made, ...signed })
    })
    ended(operation, 'succeeded', { result: { digest: built.artifact } })
    return built.artifact
  } catch (error) {
    const failure = failureOf(error)
    await control.recordRejected({ build: id, found, code: failure.code, message: failure.message })
    ended(operation, 'failed', { failure })
    throwIfFailed(operation)
    throw error
  }
}
