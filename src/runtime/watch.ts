import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { EnvironmentName } from '../domain/name.ts'
import type { Drift } from '../domain/request.ts'
import { engineEvents, type EngineEvent } from '../docker/events.ts'
import { findDrift, type ExpectedInstance, type FoundDrift } from './drift.ts'
import { findContainers, type Engine } from './engine.ts'
import type { HostFence } from './fence.ts'
import { environmentOfContainer } from './label.ts'

export type WatchDependencies = Engine & {
  fence: HostFence
  /** What the environment's last activation adopted; empty when nothing is active. */
  expected: (environment: EnvironmentName) => Promise<readonly ExpectedInstance[]>
  /** Told again when it throws, and every few minutes while a drift lasts. */
  onDrift: (environment: EnvironmentName, drifts: readonly Drift[]) => Promise<void>
  logger: Logger
  now: () => Date
}

/**
 * What is done to a container by hand comes as several events: they are judged together once none came
 * for this long, and at the latest after `latestMs`.
 */
const settleMs = 300
const latestMs = 700
/** Events are a hint; this is what holds when one is lost. */
const scanEveryMs = 30_000
const tellAgainAfterMs = 300_000
const longestPauseMs = 5000

/** Events after which what runs may differ from what should. */
const actions = ['create', 'start', 'die', 'destroy', 'pause', 'unpause', 'rename']

/**
 * Compares what runs with what should, after every event of the engine, at the start, whenever the engine
 * comes back, and every half minute. Runs until `signal` is aborted; an engine that goes away is waited for.
 */
export async function watchInstances(
  dependencies: WatchDependencies,
  signal: AbortSignal,
): Promise<void> {
  const judge = judgeInTurn(dependencies, signal)
  const scan = () => {
    for (const environment of dependencies.fence.environments()) judge(environment)
  }
  const timer = setInterval(scan, scanEveryMs)
  try {
    for (let failures = 0; !signal.aborted; failures++) {
      // The first answer of the engine comes some time after the question; what happens between is seen here.
      const afterwards = setTimeout(scan, 1000)
      scan()
      await follow(dependencies, judge, signal).catch((error: unknown) => {
        if (!signal.aborted) dependencies.logger.warn({ err: error }, 'the engine went away')
      })
      clearTimeout(afterwards)
      const pauseMs = Math.min(200 * 2 ** Math.min(failures, 10), longestPauseMs)
      await delay(pauseMs, undefined, { signal }).catch(() => undefined)
    }
  } finally {
    clearInterval(timer)
  }
}

type Judge = (environment: EnvironmentName) => void

async function follow(
  { docker, naming }: Engine,
  judge: Judge,
  signal: AbortSignal,
): Promise<void> {
  const filters = { type: ['container'], event: actions }
  for await (const event of engineEvents(docker, { filters, signal })) {
    for (const name of namesOf(event)) {
      const environment = environmentOfContainer(naming, { name, labels: event.attributes })
      if (environment !== null) judge(environment)
    }
  }
}

function namesOf({ attributes }: EngineEvent): string[] {
  const old = attributes['oldName']?.replace(/^\//, '')
  return [attributes['name'] ?? '', ...(old === undefined ? [] : [old])]
}

/** Judges an environment once for all that is asked within a moment, never twice at the same time. */
function judgeInTurn(dependencies: WatchDependencies, signal: AbortSignal): Judge {
  const due = new Map<EnvironmentName, { timer: NodeJS.Timeout; latest: number }>()
  const busy = new Set<EnvironmentName>()
  const told = new Map<EnvironmentName, Told>()

  const judge: Judge = (environment) => {
    if (signal.aborted) return
    const time = performance.now()
    const waiting = due.get(environment)
    clearTimeout(waiting?.timer)
    const latest = waiting?.latest ?? time + latestMs
    const afterMs = Math.max(0, Math.min(settleMs, latest - time))
    due.set(environment, { timer: setTimeout(() => void run(environment), afterMs), latest })
  }
  const run = async (environment: EnvironmentName) => {
    due.delete(environment)
    if (signal.aborted) return
    if (busy.has(environment)) return judge(environment)
    busy.add(environment)
    try {
      const { drifts, again } = await compare(dependencies, environment)
      if (again) judge(environment)
      told.set(
        environment,
        await tell(dependencies, environment, { drifts, before: told.get(environment) }),
      )
    } catch (error) {
      dependencies.logger.warn({ err: error, environment }, 'cannot compare what runs')
    } finally {
      busy.delete(environment)
    }
  }
  signal.addEventListener('abort', () => due.forEach(({ timer }) => clearTimeout(timer)), {
    once: true,
  })
  return judge
}

/** What an effect that runs makes is not on record yet: whether it is foreign is asked again later. */
async function compare(
  dependencies: WatchDependencies,
  environment: EnvironmentName,
): Promise<{ drifts: FoundDrift[]; again: boolean }> {
  const { fence, expected } = dependencies
  const actingBefore = fence.isActing(environment)
  // In this order: what a change ends meanwhile is on the host's record, what it adopts was there before.
  const wanted = await expected(environment)
  const found = await findContainers(dependencies, environment)
  const again = actingBefore || fence.isActing(environment)
  const drifts = findDrift(wanted, found, fence.record(environment))
  return { drifts: drifts.filter(({ cause }) => !(again && cause === 'foreign')), again }
}

/** When each container that drifts was told of last: stopped and then removed is one thing. */
type Told = ReadonlyMap<string, number>

async function tell(
  { onDrift, logger, now }: WatchDependencies,
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
    await onDrift(
      environment,
      fresh.map(({ instance, cause, found, expected }) => ({ instance, cause, found, expected })),
    )
    return new Map([...lasting, ...fresh.map(({ id }) => [id, time] as const)])
  } catch (error) {
    logger.warn({ err: error, environment }, 'nobody took the drift; it is told again')
    return lasting
  }
}
