import type { Asked, Operations, Page, PageRequest } from '../api/ports.ts'
import { authorize } from '../domain/authorize.ts'
import { subjectText } from '../domain/denial.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import { hasEnded, type Operation, type Step } from '../domain/operation.ts'
import { changeId, type ChangeRequest, type Wish } from '../domain/request.ts'
import type { Fact, Principal } from '../domain/statement.ts'
import { breakGlassIn } from './break-glass.ts'
import { assertNoSecret } from './checked-address.ts'
import type { Engine } from './engine.ts'
import { deliveryId, environmentWorkflowId, placeOf, tailFrom } from './operation-ids.ts'
import { recordedOperation } from './recorded-operations.ts'
import { followers } from './followers.ts'

type Dependencies = {
  engine: Engine
  ledger: () => Promise<Ledger>
  /** Every entry of the log, in its order. */
  facts: () => readonly Fact[]
  now: () => Date
}

/** The API's long work on Temporal. */
export function createOperations(dependencies: Dependencies): Operations {
  const { engine, ledger } = dependencies
  const get = async (id: string): Promise<Operation | undefined> => {
    const operation = await readOperation(engine, id)
    if (operation !== undefined) return operation
    await ledger()
    return recordedOperation(dependencies.facts(), id)
  }
  return {
    ...starts(dependencies),
    ...others(dependencies),
    ...breakGlassIn(dependencies),
    async cancel({ principal }, id) {
      const operation = await get(id)
      if (operation === undefined || hasEnded(operation)) return operation
      const place = placeOf(id)
      if (place.kind === 'change')
        await engine.cancelChange(place.environment, { operation: id, principal })
      else await cancelOwn(engine, operation, principal)
      return get(id)
    },
    get,
    list: (page) => list(engine, ledger, page),
    watch: followers(get),
  }
}

/**
 * A delivery takes its build with it, and that of several apps the delivery of each: nobody else waits for
 * those by these ids.
 */
async function cancelOwn(
  engine: Engine,
  operation: Operation,
  principal: Principal,
): Promise<void> {
  const verdict = authorize(principal, 'cancel', operation.subject)
  if (!verdict.allowed) throw new KilnError('forbidden', verdict.message, { place: verdict.rule })
  if (operation.kind === 'revocation')
    throw new KilnError('refused', 'a denial cannot be withdrawn', { place: 'revocation' })
  const { build } = operation.result
  if (operation.kind === 'delivery' && typeof build === 'string') await engine.cancelWorkflow(build)
  await engine.cancelWorkflow(operation.id)
  for (const [name, id] of Object.entries(operation.result)) {
    if (!name.startsWith('delivery of ') || typeof id !== 'string') continue
    const part = await readOperation(engine, id)
    if (part !== undefined && !hasEnded(part)) await cancelOwn(engine, part, principal)
  }
}

type Starts = Pick<
  Operations,
  'startBuild' | 'startRebuild' | 'promote' | 'rollback' | 'scale' | 'rotate' | 'release' | 'scan'
>

function starts({ engine, ledger, now }: Dependencies): Starts {
  const must = (id: string) => taken(engine, id)
  const change = async (
    asked: Asked,
    part: { environment: ChangeRequest['environment']; wish: Wish; reason: string },
  ): Promise<Operation> => {
    const id = changeId(part.environment, tailFrom(asked.id))
    mustBeKnown(await ledger(), part.environment)
    await engine.request({
      id,
      principal: asked.principal,
      requestedAt: now().toISOString(),
      ...part,
    })
    return must(id)
  }
  return {
    async startBuild({ principal, id: asked }, { repository, revision, useCache, app }) {
      assertNoSecret(repository)
      const whole = deliveryId(repository, revision, asked)
      const id = app === undefined ? whole : `delivery.${tailFrom(whole, app)}`
      const requestedAt = now().toISOString()
      const input = { id, repository, revision, useCache, principal, requestedAt }
      await engine.startDelivery(app === undefined ? input : { ...input, app })
      return must(id)
    },
    async startRebuild({ principal, id: asked }, { digest }) {
      const id = `rebuild.${tailFrom(asked, digest)}`
      await engine.startRebuild({ id, digest, principal, requestedAt: now().toISOString() })
      return must(id)
    },
    promote: (asked, { environment, digest, reason }) =>
      change(asked, { environment, reason, wish: { kind: 'promotion', digest, automatic: false } }),
    rollback: (asked, { environment, to, reason }) =>
      change(asked, { environment, reason, wish: { kind: 'rollback', to } }),
    scale: (asked, { environment, instances, reason }) =>
      change(asked, { environment, reason, wish: { kind: 'scale', instances } }),
    rotate: (asked, { environment, reason }) =>
      change(asked, { environment, reason, wish: { kind: 'rotation' } }),
    release: (asked, { environment, reason, alarm }) =>
      change(asked, {
        environment,
        reason,
        wish: alarm ? { kind: 'release', alarm } : { kind: 'release' },
      }),
    async scan({ principal }, environment) {
      mustBeKnown(await ledger(), environment)
      const { findings, complete } = await engine.scan(environment, principal)
      return { findings: [...findings], complete }
    },
  }
}

/** Work that is no change of one environment. */
function others({ engine, ledger, now }: Dependencies): Pick<Operations, 'revoke' | 'rehearse'> {
  return {
    async rehearse({ principal, id: asked }, environment) {
      mustBeKnown(await ledger(), environment)
      const id = `rehearsal.${tailFrom(asked, environment)}`
      await engine.startRehearsal({ id, environment, principal, requestedAt: now().toISOString() })
      return taken(engine, id)
    },
    async revoke({ principal, id: asked }, { subject, reason }) {
      const id = `revocation.${tailFrom(asked, subjectText(subject))}`
      const requestedAt = now().toISOString()
      await engine.startRevocation({ id, subject, reason, principal, requestedAt })
      return taken(engine, id)
    },
  }
}

/** An environment that no artifact's kiln.yaml names is a mistake in the request, not a wish. */
function mustBeKnown(ledger: Ledger, environment: string): void {
  const known = [...ledger.sealed.values()].flatMap(({ body }) =>
    body.pipeline.map((step) => `${body.app}/${step.environment}`),
  )
  if (known.includes(environment)) return
  const names = [...new Set(known)].toSorted().join(', ')
  throw new KilnError('not_found', `there is no environment ${environment}`, {
    fix:
      names === ''
        ? 'build a commit first: kiln build <repository>@<commit>'
        : `there are: ${names}`,
  })
}

async function taken(engine: Engine, id: string): Promise<Operation> {
  const operation = await readOperation(engine, id)
  if (operation === undefined) throw new KilnError('internal', `operation ${id} was not taken up`)
  return operation
}

async function readOperation(engine: Engine, id: string): Promise<Operation | undefined> {
  const place = placeOf(id)
  if (place.kind === 'change') {
    const operation = await engine.environmentOperation(place.environment, id)
    return operation === null
      ? undefined
      : withAttempt(engine, operation, environmentWorkflowId(place.environment))
  }
  const operation = await engine.progress(place.workflow)
  if (operation === null) return undefined
  const shown = operation.kind === 'delivery' ? await withBuild(engine, operation) : operation
  return withAttempt(engine, shown, String(shown.result['build'] ?? place.workflow))
}

/** A delivery shows its build's steps in the place of its one step `build`. */
async function withBuild(engine: Engine, operation: Operation): Promise<Operation> {
  const { build } = operation.result
  if (typeof build !== 'string' || !operation.steps.some((step) => step.name === 'build'))
    return operation
  const inner = await engine.progress(build)
  if (inner === null || inner.steps.length === 0) return operation
  return {
    ...operation,
    steps: operation.steps.flatMap((step) => (step.name === 'build' ? inner.steps : [step])),
  }
}

/** While a step is tried again, it says which try this is and what went wrong last. */
async function withAttempt(
  engine: Engine,
  operation: Operation,
  workflow: string,
): Promise<Operation> {
  if (operation.state !== 'running') return operation
  const pending = await engine.pending(workflow)
  if (pending === null) return operation
  const retried = (step: Step): Step =>
    step.state === 'running'
      ? {
          ...step,
          attempt: pending.attempt,
          detail: `try ${pending.attempt}: ${pending.error ?? 'no answer'}`,
        }
      : step
  return { ...operation, steps: operation.steps.map(retried) }
}

async function list(
  engine: Engine,
  ledger: () => Promise<Ledger>,
  page: PageRequest,
): Promise<Page<Operation>> {
  const environments = [...(await ledger()).environments.keys()]
  const changes = await Promise.all(environments.map((name) => engine.environmentOperations(name)))
  const own = await Promise.all(
    (await engine.recent(page.limit)).map((id) => readOperation(engine, id)),
  )
  const all = [...changes.flat(), ...own.filter((one) => one !== undefined)]
  const newest = all.toSorted((a, b) => (a.requestedAt < b.requestedAt ? 1 : -1))
  const start = page.cursor === undefined ? 0 : offsetOf(page.cursor)
  const items = newest.slice(start, start + page.limit)
  return { items, next: start + page.limit < newest.length ? String(start + page.limit) : null }
}

function offsetOf(cursor: string): number {
  if (!/^[0-9]{1,6}$/.test(cursor))
    throw new KilnError('invalid_input', 'the cursor was not given by an earlier page')
  return Number(cursor)
}
