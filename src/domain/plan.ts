import type { InstanceRange, PipelineStep } from './definition.ts'
import type { Digest } from './digest.ts'
import { denialOf, denialOfSigner } from './fold-denial.ts'
import { environmentOf, type EnvironmentState, type Ledger } from './ledger.ts'
import { environmentName, parseEnvironmentName, type EnvironmentName } from './name.ts'
import { routeHolder, routeOf, routeText } from './route.ts'
import type { ChangeBody, FactOf, Served } from './statement.ts'

/** Why a request is refused: the rule's name is on record with the refusal (I17). */
export type RefusalRule =
  | 'not-sealed'
  | 'denied'
  | 'unknown-environment'
  | 'not-proved-in-previous-environment'
  | 'held'
  | 'nothing-to-roll-back-to'
  | 'never-active-here'
  | 'nothing-runs-here'
  | 'instances-out-of-range'
  | 'no-hold'
  | 'route-taken'
  | 'no-secrets'

/** What a change will do, decided before anything is done. Its digest is what keys and changes carry. */
export type Plan =
  | { kind: 'change'; body: Omit<ChangeBody, 'change' | 'reason' | 'requestedBy' | 'plan'> }
  | { kind: 'nothing-to-do'; serving: Served | null }
  | { kind: 'refused'; rule: RefusalRule; message: string; fix?: string }

function refused(
  rule: RefusalRule,
  message: string,
  fix?: string,
): Extract<Plan, { kind: 'refused' }> {
  return fix === undefined
    ? { kind: 'refused', rule, message }
    : { kind: 'refused', rule, message, fix }
}

export function servedBy(key: FactOf<'key'> | null): Served | null {
  return key === null
    ? null
    : { digest: key.body.digest, definition: key.body.definition, sequence: key.body.sequence }
}

function clamp(count: number, { min, max }: InstanceRange): number {
  return Math.min(max, Math.max(min, count))
}

type ChangePart = Pick<ChangeBody, 'changeKind' | 'target' | 'instances' | 'rollbackTo'>

export function change(state: EnvironmentState, part: ChangePart): Plan {
  return {
    kind: 'change',
    body: {
      environment: state.environment,
      epoch: state.epoch + 1,
      tip: state.tip,
      from: servedBy(state.active),
      ...part,
    },
  }
}

/** Whether the environment before this one has had the digest active; the first environment has none before it. */
function proved(ledger: Ledger, previous: EnvironmentName | null, digest: Digest): boolean {
  if (previous === null) return true
  return environmentOf(ledger, previous).good.some(
    (key) => key.body.digest === digest && denialOfSigner(ledger, key) === null,
  )
}

/** The step of the artifact's own pipeline, or why the digest may not go there. */
function promotable(
  ledger: Ledger,
  environment: EnvironmentName,
  digest: Digest,
): { kind: 'step'; step: PipelineStep } | Extract<Plan, { kind: 'refused' }> {
  const { app, environment: own } = parseEnvironmentName(environment)
  const sealed = ledger.sealed.get(digest)
  if (sealed === undefined || sealed.body.app !== app) {
    return refused(
      'not-sealed',
      `${digest} is not a sealed artifact of ${app}`,
      `kiln history ${app} lists what is`,
    )
  }
  if (ledger.denied.has(digest)) return refused('denied', `${digest} was denied`)
  const { pipeline, source } = sealed.body
  const at = pipeline.findIndex((step) => step.environment === own)
  const step = pipeline[at]
  if (step === undefined) {
    const names = pipeline.map((one) => one.environment).join(', ')
    const commit = source.commit.slice(0, 12)
    return refused(
      'unknown-environment',
      `kiln.yaml at commit ${commit} has no environment ${own}; it has ${names}`,
    )
  }
  const before = pipeline[at - 1]
  const previous = before === undefined ? null : environmentName(app, before.environment)
  if (!proved(ledger, previous, digest)) {
    return refused(
      'not-proved-in-previous-environment',
      `${previous} has never had ${digest} active`,
      `kiln promote ${previous} ${digest}`,
    )
  }
  return { kind: 'step', step }
}

/** Two environments at one route would share its requests: the one that has it keeps it. */
export function routeTaken(
  ledger: Ledger,
  environment: EnvironmentName,
  target: { digest: Digest; definition: Digest },
): Extract<Plan, { kind: 'refused' }> | null {
  const route = routeOf(ledger, environment, target)
  const holder = route === null ? null : routeHolder(ledger, environment, route)
  if (route === null || holder === null) return null
  return refused(
    'route-taken',
    `the route ${routeText(route)} belongs to ${holder}`,
    `give ${environment} another route in kiln.yaml, or first promote a version of ${holder} without it`,
  )
}

export function planPromotion(
  ledger: Ledger,
  environment: EnvironmentName,
  { digest, automatic }: { digest: Digest; automatic: boolean },
): Plan {
  const may = promotable(ledger, environment, digest)
  if (may.kind === 'refused') return may
  const state = environmentOf(ledger, environment)
  if (automatic && state.hold !== null) {
    const { since, by } = state.hold
    return refused(
      'held',
      `${environment} is held since ${since} by ${by}`,
      `kiln release ${environment}`,
    )
  }
  const serving = servedBy(state.active)
  const { definition, instances } = may.step
  if (serving?.digest === digest && serving.definition === definition)
    return { kind: 'nothing-to-do', serving }
  const taken = routeTaken(ledger, environment, { digest, definition })
  if (taken !== null) return taken
  return change(state, {
    changeKind: 'promotion',
    target: { digest, definition },
    instances: clamp(state.instances || instances.min, instances),
    rollbackTo: serving === null ? null : { sequence: serving.sequence, digest: serving.digest },
  })
}

export function pair(key: FactOf<'key'>): string {
  return `${key.body.digest} ${key.body.definition}`
}

/** The pairs an environment may return to, newest first, without what serves now and what is denied. */
export function rollbackTargets(
  ledger: Ledger,
  environment: EnvironmentName,
): readonly FactOf<'key'>[] {
  const state = environmentOf(ledger, environment)
  const seen = new Set(state.active === null ? [] : [pair(state.active)])
  const targets: FactOf<'key'>[] = []
  for (const key of state.good.toReversed()) {
    if (seen.has(pair(key)) || denialOf(ledger, key) !== null) continue
    seen.add(pair(key))
    targets.push(key)
  }
  return targets
}

/** `to` absent: the target that was stored in the active key when it was issued. */
export function planRollback(
  ledger: Ledger,
  environment: EnvironmentName,
  request: { to?: Digest },
): Plan {
  const state = environmentOf(ledger, environment)
  const targets = rollbackTargets(ledger, environment)
  const stored = state.active?.body.rollbackTo ?? null
  const target =
    request.to === undefined
      ? state.good.find(
          (key) => key.body.sequence === stored?.sequence && denialOf(ledger, key) === null,
        )
      : targets.find((key) => key.body.digest === request.to)
  if (target === undefined) {
    if (request.to === undefined || targets.length === 0) {
      return refused(
        'nothing-to-roll-back-to',
        `${environment} has no earlier good artifact to return to`,
      )
    }
    return refused(
      'never-active-here',
      `${request.to} was never active in ${environment}, or is active now`,
    )
  }
  const taken = routeTaken(ledger, environment, target.body)
  if (taken !== null) return taken
  const older = state.good
    .filter(
      (key) => key.body.sequence < target.body.sequence && key.body.digest !== target.body.digest,
    )
    .at(-1)
  return change(state, {
    changeKind: 'rollback',
    target: { digest: target.body.digest, definition: target.body.definition },
    instances: state.instances,
    rollbackTo:
      older === undefined ? null : { sequence: older.body.sequence, digest: older.body.digest },
  })
}

export function planScale(
  ledger: Ledger,
  environment: EnvironmentName,
  request: { instances: number },
): Plan {
  const state = environmentOf(ledger, environment)
  const { active } = state
  if (active === null) return refused('nothing-runs-here', `nothing is active in ${environment}`)
  if (denialOf(ledger, active) !== null)
    return refused('denied', `${active.body.digest} was denied`)
  const { environment: own } = parseEnvironmentName(environment)
  const range = ledger.sealed
    .get(active.body.digest)
    ?.body.pipeline.find((step) => step.environment === own)?.instances
  if (range === undefined || request.instances !== clamp(request.instances, range)) {
    return refused(
      'instances-out-of-range',
      `${environment} may have ${range?.min ?? 0} to ${range?.max ?? 0} instances, not ${request.instances}`,
      'change instances in kiln.yaml, commit and promote',
    )
  }
  if (request.instances === state.instances) {
    return {
      kind: 'nothing-to-do',
      serving: {
        digest: active.body.digest,
        definition: active.body.definition,
        sequence: active.body.sequence,
      },
    }
  }
  return change(state, {
    changeKind: 'scale',
    target: { digest: active.body.digest, definition: active.body.definition },
    instances: request.instances,
    rollbackTo: active.body.rollbackTo,
  })
}

/** All instances are replaced by others of the same key, which get the secrets of that moment. */
export function planRotation(ledger: Ledger, environment: EnvironmentName): Plan {
  const plan = planReplacement(ledger, environment)
  return plan.kind === 'change' ? { ...plan, body: { ...plan.body, changeKind: 'rotation' } } : plan
}

/** Instances that died or were tampered with are replaced by others of the same key. */
export function planReplacement(ledger: Ledger, environment: EnvironmentName): Plan {
  const state = environmentOf(ledger, environment)
  const { active } = state
  if (active === null) return refused('nothing-runs-here', `nothing is active in ${environment}`)
  if (denialOf(ledger, active) !== null)
    return refused('denied', `${active.body.digest} was denied`)
  return change(state, {
    changeKind: 'replacement',
    target: { digest: active.body.digest, definition: active.body.definition },
    instances: state.instances,
    rollbackTo: active.body.rollbackTo,
  })
}
