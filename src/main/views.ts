import type {
  Artifact,
  Candidate,
  EnvironmentDetail,
  EnvironmentTile,
  HistoryEntry,
  Page,
  PageRequest,
  RollbackTarget,
  SecretState,
  ServerStatus,
  Views,
} from '../api/ports.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { denialOf } from '../domain/fold-denial.ts'
import { environmentOf, type EnvironmentState, type Ledger } from '../domain/ledger.ts'
import { environmentName, parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import { planPromotion, rollbackTargets } from '../domain/plan.ts'
import { routeOf } from '../domain/route.ts'
import type { Route } from '../domain/definition.ts'
import type { FactOf } from '../domain/statement.ts'

type Dependencies = {
  ledger: () => Promise<Ledger>
  history: (name: EnvironmentName, page: PageRequest) => Promise<Page<HistoryEntry>>
  /** Where the environment's traffic enters; null before its first activation. */
  address: (name: EnvironmentName) => Promise<string | null>
  /** A route's address at the shared entrance. */
  routeAddress: (route: Route) => string
  attached: (digest: Digest, what: 'sbom' | 'files' | 'provenance') => Promise<string | undefined>
  keyBundle: (key: FactOf<'key'>) => Promise<string>
  verification: Views['verification']
  status: () => Promise<ServerStatus>
  /** What the definition's references are worth on the host. */
  secrets: (definition: Digest) => Promise<SecretState[]>
}

/** What the API shows of the ledger. */
export function createViews(dependencies: Dependencies): Views {
  const { ledger } = dependencies
  return {
    async environments() {
      const known = await ledger()
      return Promise.all(namesOf(known).map((name) => tile(dependencies, known, name)))
    },
    async environment(name) {
      const known = await ledger()
      return namesOf(known).includes(name) ? detail(dependencies, known, name) : undefined
    },
    history: dependencies.history,
    verification: dependencies.verification,
    async rollbackTargets(name) {
      const known = await ledger()
      return rollbackTargets(known, name).map((key) => targetOf(known, key))
    },
    async candidates(name) {
      return candidates(await ledger(), name)
    },
    async secrets(name) {
      const known = await ledger()
      const definition = definitionOf(known, name)
      return definition === undefined ? undefined : dependencies.secrets(definition)
    },
    async artifacts({ app }, page) {
      const known = await ledger()
      const found = newestFirst(known).filter(
        (sealed) => app === undefined || sealed.body.app === app,
      )
      return pageOf(found, page, (sealed) => artifactOf(known, sealed))
    },
    async artifactsBeginningWith(hex) {
      const known = await ledger()
      return newestFirst(known)
        .filter((sealed) => sealed.artifact?.slice('sha256:'.length).startsWith(hex))
        .slice(0, 3)
        .map((sealed) => artifactOf(known, sealed))
    },
    attached: dependencies.attached,
    async keyBundle(name, sequence) {
      const state = environmentOf(await ledger(), name)
      const key = [...state.good, ...(state.pending === null ? [] : [state.pending])].find(
        (one) => one.body.sequence === sequence,
      )
      return key === undefined ? undefined : dependencies.keyBundle(key)
    },
    status: dependencies.status,
  }
}

/** Every environment that the newest artifact of an app names, in pipeline order, then those that only older ones name. */
function namesOf(known: Ledger): EnvironmentName[] {
  const names = newestFirst(known).flatMap(({ body }) =>
    body.pipeline.map((step) => environmentName(body.app, step.environment)),
  )
  const apps = [...new Set(names.map((name) => parseEnvironmentName(name).app))].toSorted()
  return apps.flatMap((app) => [...new Set(names)].filter((name) => name.startsWith(`${app}/`)))
}

function newestFirst(known: Ledger): FactOf<'sealed'>[] {
  return [...known.sealed.values()].toSorted((a, b) => b.index - a.index)
}

/** The pipeline that holds for an environment: of what is active there, else of the app's newest artifact. */
function pipelineOf(known: Ledger, state: EnvironmentState, app: string) {
  const active = state.active === null ? undefined : known.sealed.get(state.active.body.digest)
  return (
    (active ?? newestFirst(known).find((sealed) => sealed.body.app === app))?.body.pipeline ?? []
  )
}

/** The definition that is active, else the newest artifact's. */
function definitionOf(known: Ledger, name: EnvironmentName): Digest | undefined {
  const { app, environment } = parseEnvironmentName(name)
  const state = environmentOf(known, name)
  const step = pipelineOf(known, state, app).find((one) => one.environment === environment)
  return state.active?.body.definition ?? step?.definition
}

async function tile(
  dependencies: Dependencies,
  known: Ledger,
  name: EnvironmentName,
): Promise<EnvironmentTile> {
  const { app, environment } = parseEnvironmentName(name)
  const state = environmentOf(known, name)
  const pipeline = pipelineOf(known, state, app)
  const at = pipeline.findIndex((step) => step.environment === environment)
  const before = pipeline[at - 1]
  const step = pipeline[at]
  return {
    name,
    app,
    environment,
    previous: before === undefined ? null : environmentName(app, before.environment),
    last: at === pipeline.length - 1,
    automatic: step?.automatic ?? false,
    epoch: state.epoch,
    active: activeOf(known, state.active),
    instances: {
      wanted: state.instances,
      min: step?.instances.min ?? 0,
      max: step?.instances.max ?? 0,
    },
    hold: state.hold,
    alarm: state.alarm,
    open: openOf(state.open),
    outcome: outcomeOf(state),
    address: await dependencies.address(name),
    routes: routesOf(dependencies, known, state),
  }
}

function routesOf(
  { routeAddress }: Dependencies,
  known: Ledger,
  { environment, active }: EnvironmentState,
): string[] {
  const route = active === null ? null : routeOf(known, environment, active.body)
  return route === null ? [] : [routeAddress(route)]
}

function openOf(open: FactOf<'change'> | null): EnvironmentTile['open'] {
  if (open === null) return null
  const { change, changeKind, epoch, target, requestedBy } = open.body
  return {
    operation: change,
    kind: changeKind,
    epoch,
    digest: target.digest,
    requestedBy,
    since: open.time,
  }
}

function outcomeOf({ closed, outcome }: EnvironmentState): EnvironmentTile['outcome'] {
  if (closed === null || outcome === null) return null
  return {
    operation: closed.body.change,
    kind: closed.body.changeKind,
    outcome: outcome.body.outcome,
    at: outcome.time,
    failure: outcome.body.failure,
  }
}

function activeOf(known: Ledger, key: FactOf<'key'> | null): EnvironmentTile['active'] {
  if (key === null) return null
  const { sequence, digest, commit } = key.body
  return {
    sequence,
    digest,
    commit,
    subject: subjectOf(known, digest),
    since: key.time,
    denied: denialView(denialOf(known, key)),
  }
}

function denialView(denial: FactOf<'denial'> | null): Artifact['denied'] {
  if (denial === null) return null
  const { body, time } = denial
  return { reason: body.reason, by: body.requestedBy, since: time }
}

function subjectOf(known: Ledger, digest: Digest): string {
  return known.sealed.get(digest)?.body.source.subject ?? ''
}

async function detail(
  dependencies: Dependencies,
  known: Ledger,
  name: EnvironmentName,
): Promise<EnvironmentDetail> {
  const state = environmentOf(known, name)
  return {
    ...(await tile(dependencies, known, name)),
    running: state.running.map((one) => ({ ...one })),
    rollbackTo: state.active?.body.rollbackTo ?? null,
  }
}

function targetOf(known: Ledger, key: FactOf<'key'>): RollbackTarget {
  const { sequence, digest, commit, requestedBy } = key.body
  return {
    sequence,
    digest,
    commit,
    subject: subjectOf(known, digest),
    activatedAt: key.time,
    requestedBy,
  }
}

/** Every sealed artifact of the app, and for each why it may not go here; the newest hundred. */
function candidates(known: Ledger, name: EnvironmentName): Candidate[] {
  const { app } = parseEnvironmentName(name)
  const own = newestFirst(known).filter((sealed) => sealed.body.app === app)
  return own.slice(0, 100).flatMap((sealed) => {
    if (sealed.artifact === null) return []
    const plan = planPromotion(known, name, { digest: sealed.artifact, automatic: false })
    const reasons =
      plan.kind === 'refused'
        ? [{ rule: plan.rule, message: plan.message, fix: plan.fix ?? null }]
        : plan.kind === 'nothing-to-do'
          ? [{ rule: 'active-here', message: `${name} runs it already`, fix: null }]
          : []
    const { commit, subject } = sealed.body.source
    return [
      {
        digest: sealed.artifact,
        commit,
        subject,
        sealedAt: sealed.time,
        eligible: reasons.length === 0,
        reasons,
      },
    ]
  })
}

function artifactOf(known: Ledger, sealed: FactOf<'sealed'>): Artifact {
  const { app, build, source, template } = sealed.body
  const digest = sealed.artifact
  if (digest === null) throw new KilnError('ledger_corrupt', 'a sealed record names no artifact')
  return {
    digest,
    app,
    build,
    repository: source.repository,
    commit: source.commit,
    subject: source.subject,
    committedAt: new Date(source.committedAt * 1000).toISOString(),
    sealedAt: sealed.time,
    template,
    denied: denialView(known.denied.get(digest) ?? null),
    environments: [...known.environments.values()]
      .filter((state) => state.active?.body.digest === digest)
      .map((state) => state.environment),
  }
}

function pageOf<A, B>(
  all: readonly A[],
  { limit, cursor }: PageRequest,
  show: (one: A) => B,
): Page<B> {
  const start = cursor === undefined ? 0 : Number(cursor)
  if (!Number.isInteger(start) || start < 0) {
    throw new KilnError('invalid_input', 'the cursor was not given by an earlier page')
  }
  const next = start + limit < all.length ? String(start + limit) : null
  return { items: all.slice(start, start + limit).map(show), next }
}
