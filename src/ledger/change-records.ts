import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { environmentOf, type Ledger } from '../domain/ledger.ts'
import { environmentName, parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import type { ChangeRequest } from '../domain/request.ts'
import type { ActivationBody, ChangeBody, FactOf } from '../domain/statement.ts'
import { digestOf } from '../../signing/canonical.ts'
import { bundleOf, expectKind, timeOf, type RecordDependencies } from './record.ts'

/** Takes the environment's next epoch; `lost` when another change took it first. */
export async function recordChange(
  dependencies: RecordDependencies,
  {
    request,
    body,
  }: {
    request: ChangeRequest
    body: Omit<ChangeBody, 'change' | 'reason' | 'requestedBy'>
  },
): Promise<{ kind: 'recorded'; body: ChangeBody } | { kind: 'lost' }> {
  const { id: change, reason } = request
  try {
    const { fact } = await dependencies.decide({
      id: `change ${change} ${body.epoch}`,
      signable: {
        kind: 'change',
        time: timeOf(dependencies),
        body: { ...body, change, reason, requestedBy: request.principal.name },
      },
    })
    return { kind: 'recorded', body: expectKind(fact, 'change').body }
  } catch (error) {
    if (error instanceof KilnError && error.code === 'lost_race') return { kind: 'lost' }
    throw error
  }
}

/** Issues the environment's next provisioning key for an open change, and verifies it as read back. */
export async function issueKey(
  dependencies: RecordDependencies,
  { request, change }: { request: ChangeRequest; change: ChangeBody },
) {
  const known = await dependencies.ledger()
  const state = environmentOf(known, change.environment)
  const { digest, definition } = change.target
  const sealed = known.sealed.get(digest)
  if (sealed === undefined)
    throw new KilnError('refused', `${digest} is not sealed`, { place: 'not-sealed' })
  if (known.denied.has(digest))
    throw new KilnError('refused', `${digest} was denied`, { place: 'denied' })
  const issued = state.pending ?? null
  const decided = await dependencies.decide({
    id: `key ${change.environment} ${change.epoch}`,
    signable: {
      kind: 'key',
      time: timeOf(dependencies),
      version: dependencies.version,
      policy: dependencies.policy,
      inputs: await inputsOf(dependencies, { known, sealed, environment: change.environment }),
      body: {
        environment: change.environment,
        sequence: issued?.body.sequence ?? state.sequence + 1,
        epoch: change.epoch,
        previous: issued === null ? state.lastKey : issued.body.previous,
        rollbackTo: change.rollbackTo,
        digest,
        definition,
        template: sealed.body.template.lock,
        commit: sealed.body.source.commit,
        requestedBy: request.principal.name,
        approvedBy: [],
        plan: change.plan,
      },
    },
  })
  await dependencies.verify(decided.leaf, { kind: 'key', artifact: digest })
  const key = expectKind(decided.fact, 'key')
  const bundle = await bundleOf(dependencies, decided)
  return { key, bundle, repository: parseEnvironmentName(change.environment).app }
}

/**
 * A change has one outcome: the first that was recorded. Its key is what the log holds of it: whoever
 * asked for the key may never have heard that it was issued. Where the key came between, the outcome that
 * does not name it is void, and stays what its id stands for: the next one has an id of its own.
 */
export async function recordActivation(
  dependencies: RecordDependencies,
  outcome: { body: Omit<ActivationBody, 'key'>; artifact: Digest },
): Promise<ActivationBody> {
  const id = `activation ${outcome.body.environment} ${outcome.body.epoch}`
  try {
    return await decideOutcome(dependencies, id, outcome)
  } catch (error) {
    if (!(error instanceof KilnError && error.code === 'lost_race')) throw error
    return decideOutcome(dependencies, `${id} again`, outcome)
  }
}

async function decideOutcome(
  dependencies: RecordDependencies,
  id: string,
  { body, artifact }: { body: Omit<ActivationBody, 'key'>; artifact: Digest },
): Promise<ActivationBody> {
  const { pending } = environmentOf(await dependencies.ledger(), body.environment)
  const { fact } = await dependencies.decide({
    id,
    signable: {
      kind: 'activation',
      time: timeOf(dependencies),
      artifact,
      body: { ...body, key: pending?.leaf ?? null },
    },
  })
  return expectKind(fact, 'activation').body
}

/** Everything the decision rests on: provenance, SBOM, seal, and the previous environment's key. */
async function inputsOf(
  { publishedBundle, origin }: RecordDependencies,
  {
    known,
    sealed,
    environment,
  }: { known: Ledger; sealed: FactOf<'sealed'>; environment: EnvironmentName },
): Promise<{ uri: string; digest: Digest }[]> {
  const { app, pipeline, provenance, sbom } = sealed.body
  const at = pipeline.findIndex((step) => environmentName(app, step.environment) === environment)
  const before = pipeline[at - 1]
  const proof =
    before === undefined
      ? undefined
      : environmentOf(known, environmentName(app, before.environment)).good.findLast(
          (key) => key.body.digest === sealed.artifact,
        )
  const leaves = [provenance, sbom, sealed.leaf, ...(proof === undefined ? [] : [proof.leaf])]
  return Promise.all(
    leaves.map(async (leaf) => {
      const digest = digestOf((await publishedBundle(leaf)).bytes)
      return { uri: `https://${origin}/bundles/leaf/${leaf}`, digest }
    }),
  )
}
