import { isCancellation, setHandler } from '@temporalio/workflow'
import type { Digest } from '../src/domain/digest.ts'
import type { CheckedTemplate } from '../src/domain/template.ts'
import type { Made } from '../src/ledger/artifact-records.ts'
import type { FoundSource } from '../src/source/read-source.ts'
import { builder, control } from './activities.ts'
import { progressQuery } from './deliver-commit.ts'
import { ended, failureOf, step, throwIfFailed, track, type Tracked } from './tracking.ts'

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
  const { id, found } = input
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
    const made = await make(operation, input)
    const signed = await step(operation, 'sign and log', () => control.signArtifact(made))
    await step(operation, 'publish', () => control.publishArtifact({ ...made, ...signed }))
    await step(operation, 'read back and seal', (note) => {
      note(made.artifact)
      return control.sealArtifact({ ...made, ...signed })
    })
    ended(operation, 'succeeded', { result: { digest: made.artifact } })
    return made.artifact
  } catch (error) {
    const failure = failureOf(error)
    if (isCancellation(error)) {
      ended(operation, 'cancelled', { failure })
      throw error
    }
    await control.recordRejected({ build: id, found, code: failure.code, message: failure.message })
    ended(operation, 'failed', { failure })
    throwIfFailed(operation)
    throw error
  }
}

/** The unsigned artifact and what is known of it; everything large is in the store by its digest. */
async function make(
  operation: Tracked,
  { id, found, template, useCache }: BuildInput,
): Promise<Made> {
  const { app, context, source } = found
  const { dependencies } = await step(operation, 'fetch dependencies', () =>
    builder.fetchDependencies({ build: id, context, template }),
  )
  const { artifact, files } = await step(operation, 'build image', () =>
    builder.buildImage({ build: id, app, context, dependencies, template, source, useCache }),
  )
  const { sbom } = await step(operation, 'inspect', async (note) => {
    const inspected = await builder.makeSbom({ artifact, source })
    note(`${inspected.components} components`)
    return inspected
  })
  return { build: id, found, template, artifact, files, dependencies, sbom }
}
