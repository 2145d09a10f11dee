import { authorize, type Verb } from '../domain/authorize.ts'
import type { Definition } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { denialOf } from '../domain/fold-denial.ts'
import { environmentOf, type EnvironmentState, type Ledger } from '../domain/ledger.ts'
import { environmentName, parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import {
  planPromotion,
  planReplacement,
  planRollback,
  planRotation,
  planScale,
  servedBy,
  type Plan,
} from '../domain/plan.ts'
import { replacementVerdict } from './replacements.ts'
import { planReturn } from '../domain/plan-return.ts'
import { changeId, tailOf, type ChangeRequest, type Drift, type Wish } from '../domain/request.ts'
import type { ChangeBody, ChangeKind, FactOf, Served } from '../domain/statement.ts'

/** What an environment's workflow is told to do about a request. */
export type Decision =
  /** A change has no outcome yet: it must get one before anything else begins. */
  | { kind: 'open'; change: ChangeBody; active: FactOf<'key'> | null }
  | {
      kind: 'change'
      body: Omit<ChangeBody, 'change' | 'reason' | 'requestedBy'>
      active: FactOf<'key'> | null
    }
  | { kind: 'release'; hold: string }
  /** What lost work left is ended, as the change that ended last would have done it. */
  | { kind: 'nothing-serves'; change: ChangeBody }
  | { kind: 'nothing-to-do'; serving: Served | null }
  | { kind: 'refused'; rule: string; message: string; fix: string | null }

/** An artifact that was sealed and is not in the registry. */
export type Gone = { message: string; fix: string }

type Dependencies = {
  /** The ledger as of now, verified. */
  ledger: () => Promise<Ledger>
  digestOfJson: (value: unknown) => Digest
  /** A definition's content. */
  definition: (digest: Digest) => Promise<Definition>
  /** Why nothing may begin now, for want of space; what mends may begin with less. */
  room: (need: 'work' | 'mending') => Promise<KilnError | undefined>
  /** Why an artifact cannot be started any more, `kiln gc` above all; null: it is there, and stays for now. */
  gone: (artifact: { app: string; digest: Digest }) => Promise<Gone | null>
  /** Hands a request to an environment's workflow; the same id again is the same request. */
  request: (request: ChangeRequest) => Promise<void>
  now: () => Date
}

/** How much space a change needs to begin; what was denied does not go on for want of any. */
const roomFor = {
  promotion: 'work',
  scale: 'work',
  rotation: 'work',
  rollback: 'mending',
  replacement: 'mending',
  return: null,
  stop: null,
} as const satisfies Record<ChangeKind, 'work' | 'mending' | null>

export type PromoteActivities = ReturnType<typeof promoteActivities>

const verbOf = {
  promotion: 'promote',
  rollback: 'rollback',
  scale: 'scale',
  replacement: 'replace',
  rotation: 'rotate',
  release: 'release',
  // The denial itself is what a person needs the right for; it is on record by now.
  return: 'replace',
} as const satisfies Record<Wish['kind'], Verb>

export function promoteActivities(dependencies: Dependencies) {
  const { ledger, digestOfJson, request: hand, now } = dependencies
  return {
    /** Decides, against the ledger of this moment; changes nothing. */
    async decideChange(request: ChangeRequest): Promise<Decision> {
      const decision = decide(await ledger(), request, { digestOfJson, now: now() })
      if (decision.kind !== 'change') return decision
      const missing =
        (await missingTarget(dependencies, decision.body)) ??
        (await missingRoom(dependencies, decision.body))
      if (missing !== null) return missing
      if (request.wish.kind !== 'rotation') return decision
      const { secrets } = await dependencies.definition(decision.body.target.definition)
      return secrets === undefined ? withoutSecrets(request) : decision
    },

    /** After an activation: asks the next environment for the same digest, where kiln.yaml says it goes by itself. */
    async promoteOnwards(input: {
      environment: EnvironmentName
      digest: Digest
      change: string
    }): Promise<string[]> {
      const next = nextAutomatic(await ledger(), input)
      if (next === null) return []
      await hand({
        id: changeId(next, tailOf(input.change)),
        environment: next,
        wish: { kind: 'promotion', digest: input.digest, automatic: true },
        reason: `active in ${input.environment}`,
        principal: { name: 'kiln', kind: 'kiln' },
        requestedAt: now().toISOString(),
      })
      return [next]
    },

    /**
     * A sealed artifact's way begins in its app's first environment, once: announcing an old commit
     * again never takes an environment back to it.
     */
    async promoteFirst(input: {
      digest: Digest
      build: string
    }): Promise<{ change: string } | null> {
      const known = await ledger()
      const sealed = known.sealed.get(input.digest)
      const first = sealed?.body.pipeline[0]
      if (sealed === undefined) throw new KilnError('not_found', `${input.digest} is not sealed`)
      if (first === undefined || !first.automatic) return null
      const environment = environmentName(sealed.body.app, first.environment)
      if (environmentOf(known, environment).good.some((key) => key.body.digest === input.digest))
        return null
      const id = changeId(environment, input.build.slice(-16))
      await hand({
        id,
        environment,
        wish: { kind: 'promotion', digest: input.digest, automatic: true },
        reason:
          `commit ${sealed.body.source.commit.slice(0, 12)}: ${sealed.body.source.subject}`.slice(
            0,
            200,
          ),
        principal: { name: 'kiln', kind: 'kiln' },
        requestedAt: now().toISOString(),
      })
      return { change: id }
    },
  }
}

/** The decision itself; pure. */
export function decide(
  ledger: Ledger,
  request: ChangeRequest,
  { digestOfJson, now }: { digestOfJson: (value: unknown) => Digest; now: Date },
): Decision {
  const { environment, wish, principal } = request
  const verdict = authorize(principal, verbOf[wish.kind], environment)
  if (!verdict.allowed)
    return { kind: 'refused', rule: verdict.rule, message: verdict.message, fix: null }
  const state = environmentOf(ledger, environment)
  if (wish.kind === 'release') return release(state, wish.alarm === true)
  if (state.open !== null) {
    return { kind: 'open', change: state.open.body, active: state.active }
  }
  const mends = wish.kind === 'replacement' && !isDenied(ledger, environment)
  const before = mends ? unreplaced(state, wish.drifts, now) : null
  if (before !== null) return before
  const plan = planOf(ledger, environment, wish)
  switch (plan.kind) {
    case 'refused':
      return { kind: 'refused', rule: plan.rule, message: plan.message, fix: plan.fix ?? null }
    case 'nothing-to-do':
      return plan
    case 'change':
      return {
        kind: 'change',
        body: { ...plan.body, plan: digestOfJson(plan.body) },
        active: state.active,
      }
  }
}

/** Only where people choose: what serves, and what a denial returns to, is leased. */
async function missingTarget(
  { gone }: Dependencies,
  { changeKind, environment, target }: Pick<ChangeBody, 'changeKind' | 'environment' | 'target'>,
): Promise<Decision | null> {
  if (changeKind !== 'promotion' && changeKind !== 'rollback') return null
  const { app } = parseEnvironmentName(environment)
  const found = await gone({ app, digest: target.digest })
  return found === null ? null : { kind: 'refused', rule: 'collected', ...found }
}

async function missingRoom(
  { room }: Dependencies,
  { changeKind }: Pick<ChangeBody, 'changeKind'>,
): Promise<Decision | null> {
  const need = roomFor[changeKind]
  const fault = need === null ? undefined : await room(need)
  if (fault === undefined) return null
  return { kind: 'refused', rule: 'low-disk', message: fault.message, fix: fault.fix ?? null }
}

function withoutSecrets({ environment }: ChangeRequest): Decision {
  return {
    kind: 'refused',
    rule: 'no-secrets',
    message: `what is active in ${environment} has no secrets`,
    fix: 'name them under secrets in kiln.yaml, commit and promote',
  }
}

function release({ environment, hold, alarm }: EnvironmentState, ofAlarm: boolean): Decision {
  const held = ofAlarm ? alarm : hold
  if (held !== null) return { kind: 'release', hold: held.change }
  return ofAlarm
    ? { kind: 'refused', rule: 'no-alarm', message: `${environment} has no alarm`, fix: null }
    : { kind: 'refused', rule: 'no-hold', message: `${environment} is not held`, fix: null }
}

/** What is decided of drifts that no replacement follows; null when one does. */
function unreplaced(state: EnvironmentState, drifts: readonly Drift[], now: Date): Decision | null {
  const serving = servedBy(state.active)
  if (serving === null) {
    return state.closed === null ? null : { kind: 'nothing-serves', change: state.closed.body }
  }
  if (!concerns(state, drifts)) return { kind: 'nothing-to-do', serving }
  const verdict = replacementVerdict(state, drifts, now)
  switch (verdict.kind) {
    case 'within':
      return null
    case 'waits':
      return { kind: 'nothing-to-do', serving }
    case 'alarm':
      return { ...verdict, kind: 'refused' }
  }
}

/**
 * What was seen of an instance that a later change ended is on record, and needs no replacement; what was
 * seen at the edge is mended already.
 */
function concerns({ running }: EnvironmentState, drifts: readonly Drift[]): boolean {
  return drifts.some(
    ({ instance, cause }) =>
      cause === 'foreign' ||
      cause === 'unknown' ||
      (cause !== 'edge' && running.some((one) => one.name === instance)),
  )
}

/** Then no replacement mends it: what follows is what follows the denial. */
function isDenied(ledger: Ledger, environment: EnvironmentName): boolean {
  const { active } = environmentOf(ledger, environment)
  return active !== null && denialOf(ledger, active) !== null
}

function planOf(
  ledger: Ledger,
  environment: EnvironmentName,
  wish: Exclude<Wish, { kind: 'release' }>,
): Plan {
  switch (wish.kind) {
    case 'promotion':
      return planPromotion(ledger, environment, wish)
    case 'rollback':
      return planRollback(ledger, environment, wish.to === null ? {} : { to: wish.to })
    case 'scale':
      return planScale(ledger, environment, wish)
    case 'replacement':
      return isDenied(ledger, environment)
        ? planReturn(ledger, environment)
        : planReplacement(ledger, environment)
    case 'return':
      return planReturn(ledger, environment)
    case 'rotation':
      return planRotation(ledger, environment)
  }
}

function nextAutomatic(
  ledger: Ledger,
  { environment, digest }: { environment: EnvironmentName; digest: Digest },
): EnvironmentName | null {
  const sealed = ledger.sealed.get(digest)
  if (sealed === undefined) return null
  const { app, pipeline } = sealed.body
  const at = pipeline.findIndex((step) => environmentName(app, step.environment) === environment)
  const next = at < 0 ? undefined : pipeline[at + 1]
  return next?.automatic === true ? environmentName(app, next.environment) : null
}
