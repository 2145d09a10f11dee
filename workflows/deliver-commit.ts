import { defineQuery, isCancellation, setHandler } from '@temporalio/workflow'
import type { Digest } from '../src/domain/digest.ts'
import type { Operation } from '../src/domain/operation.ts'
import type { FoundSource } from '../src/source/read-source.ts'
import { builder, control, waiting } from './activities.ts'
import type { DeliveryInput } from './delivery-input.ts'
import { reportStatus } from './commit-status.ts'
import { deliverApps, noSuchApp } from './deliver-apps.ts'
import { ended, failureOf, step, throwIfFailed, track, type Tracked } from './tracking.ts'

export const progressQuery = defineQuery<Operation>('progress')

/**
 * From a commit to its app's first environment: source, template, build, and the first promotion is asked
 * for. A commit that holds several apps becomes one delivery for each of them.
 */
export async function deliverCommit(input: DeliveryInput): Promise<void> {
  const operation = track({
    id: input.id,
    kind: 'delivery',
    subject: `${input.repository}@${input.revision}${input.path === undefined ? '' : `:${input.path}`}`,
    requestedBy: input.principal.name,
    requestedAt: input.requestedAt,
  })
  setHandler(progressQuery, () => operation)
  operation.state = 'running'
  const status = reportStatus(input)
  try {
    await control.authorizeWork({
      principal: input.principal,
      verb: 'build',
      resource: input.repository,
    })
    const found = await findSource(operation, input)
    if ('apps' in found) {
      await deliverApps(operation, input, found)
      return await status.succeeded('every app is delivered')
    }
    if (input.app !== undefined && input.app !== found.app)
      throw noSuchApp(input.app, `it is one app: ${found.app}`)
    status.begin(found.app, found.source.commit)
    const artifact = await deliverApp(operation, input, found)
    await status.succeeded(`sealed as ${artifact.slice(0, 19)}`)
  } catch (error) {
    const failure = failureOf(error)
    ended(operation, isCancellation(error) ? 'cancelled' : 'failed', { failure })
    await status.failed(failure, isCancellation(error))
    throwIfFailed(operation)
    throw error
  }
}

/** One app: its artifact, which is sealed, and its first promotion, which is asked for. */
async function deliverApp(
  operation: Tracked,
  input: DeliveryInput,
  found: FoundSource,
): Promise<Digest> {
  const template = await step(operation, 'template', (note) => {
    note(found.template)
    return builder.checkTemplate({ name: found.template })
  })
  const build = await control.identifyBuild({ found, template })
  operation.result = { app: found.app, commit: found.source.commit, build: build.id }
  const artifact =
    build.artifact ??
    (await step(operation, 'build', (note) => {
      note(build.id)
      return waiting.runBuild({
        id: build.id,
        found,
        template,
        useCache: input.useCache,
        requestedBy: input.principal.name,
      })
    }))
  operation.result = { ...operation.result, digest: artifact }
  const first = await step(operation, 'promote', (note) =>
    control.promoteFirst({ digest: artifact, build: build.id }).then((promoted) => {
      note(promoted?.change ?? 'the first environment is promoted to by hand')
      return promoted
    }),
  )
  ended(operation, build.artifact === null ? 'succeeded' : 'unchanged', {
    result: { change: first?.change ?? null },
  })
  return artifact
}

function findSource(operation: Tracked, { repository, revision, path }: DeliveryInput) {
  return step(operation, 'source', async (note) => {
    const part = path === undefined ? {} : { path }
    const found = await builder.resolveSource({ repository, revision, ...part })
    const { commit, subject } = 'apps' in found ? found : found.source
    const what = 'apps' in found ? `${found.apps.length} apps` : found.app
    note(`${what} ${commit.slice(0, 12)} ${subject}`.slice(0, 120))
    return found
  })
}
