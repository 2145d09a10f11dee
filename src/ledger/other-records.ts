import type { Digest } from '../domain/digest.ts'
import { environmentOf, type EnvironmentState } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { ChangeRequest, Drift } from '../domain/request.ts'
import type { Principal } from '../domain/statement.ts'
import { expectKind, timeOf, type RecordDependencies } from './record.ts'

export async function recordDrifts(
  dependencies: RecordDependencies,
  {
    request,
    drifts,
  }: {
    request: ChangeRequest
    drifts: readonly Drift[]
  },
): Promise<void> {
  const { environment, id } = request
  const { epoch, drifting } = environmentOf(await dependencies.ledger(), environment)
  const artifact = await activeArtifact(dependencies, environment)
  for (const [at, drift] of drifts.entries()) {
    // Told again while nothing was changed: it is on record.
    if (isKnown(drifting, drift)) continue
    await dependencies.decide({
      id: `drift ${id} ${at}`,
      signable: {
        kind: 'drift',
        time: timeOf(dependencies),
        artifact,
        body: { environment, epoch, ...drift },
      },
    })
  }
}

/** What happens at the edge is over once it is told: the same again is another time. */
function isKnown(known: EnvironmentState['drifting'], { instance, cause }: Drift): boolean {
  if (cause === 'edge' || cause === 'unknown') return false
  return known.some((one) => one.instance === instance && one.cause === cause)
}

export async function recordRelease(
  dependencies: RecordDependencies,
  {
    request,
    hold,
  }: {
    request: ChangeRequest
    hold: string
  },
): Promise<void> {
  const { environment, reason, principal } = request
  await dependencies.decide({
    id: `release ${request.id}`,
    signable: {
      kind: 'release',
      time: timeOf(dependencies),
      artifact: await activeArtifact(dependencies, environment),
      body: { environment, change: hold, reason, requestedBy: principal.name },
    },
  })
}

export type BreakGlassRequest = {
  id: string
  environment: EnvironmentName
  instance: { name: string; id: string }
  /** How long, from when it is on record; 0 ends what was begun. */
  seconds: number
  reason: string
  principal: Principal
}

/**
 * Lets a person into one instance, or ends it. Throws `lost_race` when the instance runs no more by then.
 * Repeated it is the same leave, and no longer one.
 */
export async function recordBreakGlass(
  dependencies: RecordDependencies,
  { id, environment, instance, seconds, reason, principal }: BreakGlassRequest,
): Promise<{ until: string }> {
  const time = timeOf(dependencies)
  const until = new Date(Date.parse(time) + seconds * 1000).toISOString()
  const { fact } = await dependencies.decide({
    id: `break-glass ${id}`,
    signable: {
      kind: 'break-glass',
      time,
      artifact: await activeArtifact(dependencies, environment),
      body: {
        environment,
        instance: instance.name,
        id: instance.id,
        until,
        reason,
        requestedBy: principal.name,
      },
    },
  })
  return { until: expectKind(fact, 'break-glass').body.until }
}

export async function recordRefusal(
  dependencies: RecordDependencies,
  input: {
    request: ChangeRequest
    rule: string
    message: string
  },
): Promise<void> {
  const { request, rule, message } = input
  const { environment, wish, principal, id } = request
  await dependencies.decide({
    id: `refusal ${id}`,
    signable: {
      kind: 'refusal',
      time: timeOf(dependencies),
      artifact:
        wish.kind === 'promotion' ? wish.digest : await activeArtifact(dependencies, environment),
      body: {
        environment,
        change: id,
        rule,
        message: message.slice(0, 500),
        requestedBy: principal.name,
      },
    },
  })
}

async function activeArtifact(
  { ledger }: RecordDependencies,
  environment: EnvironmentName,
): Promise<Digest | null> {
  return environmentOf(await ledger(), environment).active?.body.digest ?? null
}
