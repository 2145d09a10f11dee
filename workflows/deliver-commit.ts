import { defineQuery, isCancellation, setHandler } from '@temporalio/workflow'
import type { Operation } from '../src/domain/operation.ts'
import type { Principal } from '../src/domain/statement.ts'
import { builder, control, waiting } from './activities.ts'
import { ended, failureOf, step, throwIfFailed, track } from './tracking.ts'

export const progressQuery = defineQuery<Operation>('progress')

export type DeliveryInput = {
  id: string
  repository: string
  /** A full commit id, or a branch's name. */
  revision: string
  useCache: boolean
  principal: Principal
  requestedAt: string
}

/** From a commit to its app's first environment: source, template, build, and the first promotion is asked for. */
export async function deliverCommit(input: DeliveryInput): Promise<void> {
  const operation = track({
    id: input.id,
    kind: 'delivery',
    subject: `${input.repository}@${input.revision}`,
    requestedBy: input.principal.name,
    requestedAt: input.requestedAt,
  })
  setHandler(progressQuery, () => operation)
  operation.state = 'running'
  try {
    await control.authorizeWork({
      principal: input.principal,
      verb: 'build',
      resource: input.repository,
    })
    const found = await step(operation, 'source', async (note) => {
      const source = await builder.resolveSource({
        repository: input.repository,
        revision: input.revision,
      })
      note(
        `${source.app} ${source.source.commit.slice(0, 12)} ${source.source.subject}`.slice(0, 120),
      )
      return source
    })
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
  } catch (error) {
    ended(operation, isCancellation(error) ? 'cancelled' : 'failed', { failure: failureOf(error) })
    throwIfFailed(operation)
    throw error
  }
}
