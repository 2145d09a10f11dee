import type { Logger } from 'pino'
import type { Endpoint } from '../domain/effect.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Drift } from '../domain/request.ts'
import type { Entered } from '../domain/break-glass.ts'
import { isHeldBack, noteEntered } from './entered.ts'
import { findDrift, type FoundDrift, type Wanted } from './drift.ts'
import { findContainers, type Engine, type Found } from './engine.ts'
import type { HostFence } from './fence.ts'
import { noteTaints } from './host-record.ts'
import type { SecretFiles } from './secret-files.ts'
import { lookWith, type Depth, type ExpectedMould, type Look, type LookAtStranger } from './look.ts'

/** What the verified ledger says should run in an environment: nothing when nothing is active. */
export type Expected = Wanted & {
  /** What the instances are made of; null when nothing is active. */
  mould: (() => Promise<ExpectedMould>) | null
  /** Who may enter, or entered, which instance. */
  entered: readonly Entered[]
}

export type JudgeDependencies = Engine & {
  fence: HostFence
  secrets: Pick<SecretFiles, 'find'>
  expected: (environment: EnvironmentName) => Promise<Expected>
  /** Mends the edge where it differs from these instances, and says what differed. */
  edge: (environment: EnvironmentName, instances: readonly Endpoint[]) => Promise<readonly Drift[]>
  /** Told again when it throws, and every few minutes while a drift lasts. */
  onDrift: (environment: EnvironmentName, drifts: readonly Drift[]) => Promise<void>
  logger: Logger
  now: () => Date
}

/**
 * `again`: something acted meanwhile, so that what belongs there must be asked later. `complete`: nothing
 * that was to be looked at was left out.
 */
export type Judgement = { drifts: readonly Drift[]; again: boolean; complete: boolean }

export type Judge = (environment: EnvironmentName, depth: Depth) => Promise<Judgement>

const tellAgainAfterMs = 300_000

/** When each container that drifts was told of last: stopped and then removed is one thing. */
type Told = ReadonlyMap<string, number>

/**
 * Compares what runs with what should, notes durably what was changed in a running instance, and tells
 * of what was not told lately. One at a time in each environment. Throws when the engine or the ledger
 * does not answer; that nobody takes a drift is no error here.
 */
export function createJudge(dependencies: JudgeDependencies): Judge {
  const looks = lookWith(dependencies)
  const told = new Map<EnvironmentName, Told>()
  const tails = new Map<EnvironmentName, Promise<unknown>>()

  async function judge(environment: EnvironmentName, depth: Depth): Promise<Judgement> {
    const compared = await compare(dependencies, looks, { environment, depth })
    const { drifts, telling, again, complete } = compared
    const before = told.get(environment)
    told.set(environment, await tell(dependencies, environment, { drifts: telling, before }))
    return { drifts: drifts.map(plain), again, complete }
  }
  return (environment, depth) => {
    const mine = (tails.get(environment) ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => judge(environment, depth))
    tails.set(environment, mine)
    return mine
  }
}

/** `telling`: without what stays while somebody may be inside. */
type Compared = {
  drifts: FoundDrift[]
  telling: FoundDrift[]
  again: boolean
  complete: boolean
}

/** What an effect that runs makes is not on record yet: whether it belongs there is asked again later. */
async function compare(
  dependencies: JudgeDependencies,
  { look, lookAtStranger }: { look: Look; lookAtStranger: LookAtStranger },
  { environment, depth }: { environment: EnvironmentName; depth: Depth },
): Promise<Compared> {
  const { fence, expected } = dependencies
  const actingBefore = fence.isActing(environment)
  const { epoch } = fence.record(environment)
  // In this order: what a change ends meanwhile is on the host's record, what it adopts was there before.
  const wanted = await expected(environment)
  const found = await findContainers(dependencies, environment)
  await noteEntered(fence, environment, wanted.entered)
  const seen = await taint(dependencies, look, { environment, depth, wanted, found })
  const again = actingBefore || fence.isActing(environment)
  const drifts = findDrift(wanted, found, fence.record(environment)).filter(
    ({ cause }) => !(again && (cause === 'foreign' || cause === 'unknown')),
  )
  // Where work was lost the edge may lead to what only a replacement can take out of it without a gap.
  const isLost = drifts.some(({ cause }) => cause === 'unknown')
  const settled = depth === 'content' && !again && wanted.closed !== null && !isLost
  const edge = settled
    ? await edgeDrifts(dependencies, { environment, epoch }, { wanted, found })
    : null
  const detailed = await withDetails(dependencies, lookAtStranger, {
    environment,
    wanted,
    found,
    drifts,
  })
  const all = [...detailed, ...(edge ?? [])]
  return {
    drifts: all,
    telling: all.filter((drift) => !isHeldBack(drift, wanted.entered, dependencies.now())),
    again,
    complete: seen && (depth === 'settings' || edge !== null),
  }
}

/**
 * Looks at every expected instance that runs, and notes what it finds before anybody is told. Whether
 * all could be looked at.
 */
async function taint(
  { fence, logger }: JudgeDependencies,
  look: Look,
  seen: { environment: EnvironmentName; depth: Depth; wanted: Expected; found: readonly Found[] },
): Promise<boolean> {
  const { environment, depth, wanted, found } = seen
  if (wanted.mould === null || wanted.instances.length === 0) return true
  try {
    const mould = await wanted.mould()
    const running = wanted.instances.flatMap(({ name, id }) => {
      const one = found.find((other) => other.id === id)
      return one?.state === 'running' ? [{ name, found: one }] : []
    })
    await Promise.all(
      running.map(async ({ name, found: one }) => {
        const taints = await look(environment, { name, found: one, mould, depth })
        if (taints.length > 0)
          await fence.note(environment, (record) => noteTaints(record, one.id, taints))
      }),
    )
    return true
  } catch (error) {
    // What can be told without it (stopped, removed, foreign) is told all the same.
    logger.error({ err: error, environment }, 'cannot look into what runs')
    return false
  }
}

/** Of a foreign container also how it differs from the instance that it stands beside, or in place of. */
async function withDetails(
  { logger }: JudgeDependencies,
  lookAtStranger: LookAtStranger,
  seen: {
    environment: EnvironmentName
    wanted: Expected
    found: readonly Found[]
    drifts: readonly FoundDrift[]
  },
): Promise<FoundDrift[]> {
  const { environment, wanted, found, drifts } = seen
  const [first] = wanted.instances
  return Promise.all(
    drifts.map(async (drift) => {
      const one = found.find(({ id }) => id === drift.id)
      if (drift.cause !== 'foreign' || one === undefined || first === undefined) return drift
      const { name } = wanted.instances.find((other) => other.name === one.name) ?? first
      try {
        const mould = await wanted.mould?.()
        if (mould === undefined) return drift
        const details = await lookAtStranger(environment, { name, found: one, mould })
        return details === null ? drift : { ...drift, found: `${drift.found}: ${details}` }
      } catch (error) {
        logger.error({ err: error, environment }, 'cannot look into a foreign container')
        return drift
      }
    }),
  )
}

async function edgeDrifts(
  { edge, fence, logger }: JudgeDependencies,
  at: { environment: EnvironmentName; epoch: number },
  { wanted, found }: { wanted: Expected; found: readonly Found[] },
): Promise<FoundDrift[] | null> {
  const instances = wanted.instances.flatMap(({ name, id }) => {
    const one = found.find((other) => other.id === id)
    const port = one?.labels?.settings.port
    return one === undefined || port === undefined ? [] : [{ name, id, address: one.address, port }]
  })
  try {
    const drifts = await fence.between(at, () => edge(at.environment, instances))
    return drifts === null
      ? null
      : drifts.map((drift) => ({ ...drift, id: `edge ${drift.instance}` }))
  } catch (error) {
    logger.error({ err: error, environment: at.environment }, 'cannot look at the edge')
    return null
  }
}

async function tell(
  { onDrift, logger, now }: JudgeDependencies,
  environment: EnvironmentName,
  { drifts, before }: { drifts: readonly FoundDrift[]; before: Told | undefined },
): Promise<Told> {
  const time = now().getTime()
  const lasting = new Map<string, number>()
  const fresh: FoundDrift[] = []
  for (const drift of drifts) {
    const toldAt = before?.get(drift.id)
    if (toldAt === undefined || time - toldAt >= tellAgainAfterMs) fresh.push(drift)
    else lasting.set(drift.id, toldAt)
  }
  if (fresh.length === 0) return lasting
  logger.warn({ environment, drifts: fresh }, 'what runs is not what should')
  try {
    await onDrift(environment, fresh.map(plain))
    return new Map([...lasting, ...fresh.map(({ id }) => [id, time] as const)])
  } catch (error) {
    logger.warn({ err: error, environment }, 'nobody took the drift; it is told again')
    return lasting
  }
}

function plain({ instance, cause, found, expected }: FoundDrift): Drift {
  return { instance, cause, found, expected }
}
