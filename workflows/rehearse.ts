import { setHandler } from '@temporalio/workflow'
import type { EnvironmentName } from '../src/domain/name.ts'
import type { Principal } from '../src/domain/statement.ts'
import { control, hostActivities } from './activities.ts'
import { progressQuery } from './deliver-commit.ts'
import { carry, ended, step, track, type Tracked } from './tracking.ts'

export type RehearsalInput = {
  id: string
  host: string
  environment: EnvironmentName
  principal: Principal
  requestedAt: string
}

/**
 * Proves that an environment's rollback target can still be pulled, verified and started: its host does all
 * of it, aside. Nothing is logged and nothing serves; the operation is the record.
 */
export async function rehearse(input: RehearsalInput): Promise<void> {
  const operation = track({
    id: input.id,
    kind: 'rehearsal',
    subject: input.environment,
    requestedBy: input.principal.name,
    requestedAt: input.requestedAt,
  })
  setHandler(progressQuery, () => operation)
  await carry(operation, () => proveTarget(operation, input))
}

async function proveTarget(operation: Tracked, input: RehearsalInput): Promise<void> {
  const { environment, host, id, principal } = input
  await control.authorizeWork({ principal, verb: 'rehearse', resource: environment })
  const plan = await step(operation, 'find the rollback target', () =>
    control.planRehearsal({ environment }),
  )
  if (plan.kind === 'refused') {
    const { fix, message, rule: place } = plan
    const failure = { code: 'refused', message, place, fix, lines: [] } as const
    return ended(operation, 'refused', { result: { rule: place }, failure })
  }
  const { definition, digest, key, sequence } = plan
  operation.result = { digest, sequence, host }
  const took = await step(operation, 'verify, pull and start it aside', async (note) => {
    const done = await hostActivities(host).rehearse({
      id,
      environment,
      key,
      digest,
      definition,
      sequence,
    })
    note(`answered after ${done.readyMs} ms`)
    return done
  })
  ended(operation, 'succeeded', { result: took })
}
