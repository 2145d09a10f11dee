import { setTimeout as delay } from 'node:timers/promises'
import type { EnvironmentName } from '../domain/name.ts'
import { engineEvents, type EngineEvent } from '../docker/events.ts'
import { noteTaints } from './host-record.ts'
import { type Judge, type JudgeDependencies } from './judge.ts'
import { environmentOfContainer } from './label.ts'
import { processTaint, type Depth } from './look.ts'
import { execProgram } from './processes.ts'

/**
 * What is done to a container by hand comes as several events: they are judged together once none came
 * for this long, and at the latest after `latestMs`.
 */
const settleMs = 300
const latestMs = 700
/** Events are a hint; this is what holds when one is lost. */
const scanEveryMs = 30_000
/** Every so many scans files, processes and the edge are looked at too: no event tells of them. */
const contentEvery = 2
const longestPauseMs = 5000

/** Events after which what runs may differ from what should. */
const actions = [
  'create',
  'start',
  'die',
  'destroy',
  'pause',
  'unpause',
  'rename',
  'update',
  'exec_start',
  'connect',
  'disconnect',
]

export type WatchDependencies = Pick<
  JudgeDependencies,
  'docker' | 'naming' | 'fence' | 'logger'
> & {
  judge: Judge
}

/**
 * Compares what runs with what should, after every event of the engine, at the start, whenever the engine
 * comes back, and every half minute; what no event tells of every minute. Runs until `signal` is aborted;
 * an engine that goes away is waited for.
 */
export async function watchInstances(
  dependencies: WatchDependencies,
  signal: AbortSignal,
): Promise<void> {
  const ask = askInTurn(dependencies, signal)
  const scan = (depth: Depth) => {
    for (const environment of dependencies.fence.environments()) ask(environment, depth)
  }
  let scans = 0
  const timer = setInterval(
    () => scan(++scans % contentEvery === 0 ? 'content' : 'settings'),
    scanEveryMs,
  )
  try {
    for (let failures = 0; !signal.aborted; failures++) {
      // The first answer of the engine comes some time after the question; what happens between is seen here.
      const afterwards = setTimeout(scan, 1000, 'settings')
      scan('content')
      await follow(dependencies, ask, signal).catch((error: unknown) => {
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

type Ask = (environment: EnvironmentName, depth: Depth) => void

async function follow(
  dependencies: WatchDependencies,
  ask: Ask,
  signal: AbortSignal,
): Promise<void> {
  const filters = { type: ['container', 'network'], event: actions }
  for await (const event of engineEvents(dependencies.docker, { filters, signal })) {
    if (event.action.startsWith('exec_start')) await noteExec(dependencies, event)
    for (const environment of environmentsOf(dependencies, event)) ask(environment, 'settings')
  }
}

/** Kiln never runs anything in an instance. What an exec started may be gone, or adopted, when it is looked for. */
async function noteExec({ fence, logger }: WatchDependencies, event: EngineEvent): Promise<void> {
  const taints = [processTaint(execProgram(event.action), 1)]
  try {
    for (const environment of makersOf(fence, event.id))
      await fence.note(environment, (record) => noteTaints(record, event.id, taints))
  } catch (error) {
    logger.error({ err: error, container: event.id }, 'cannot note what ran in an instance')
  }
}

/** By the container's name and labels, or for a network's event by the container that it is about. */
function environmentsOf(
  { naming, fence }: WatchDependencies,
  { type, attributes }: EngineEvent,
): EnvironmentName[] {
  if (type === 'network') return makersOf(fence, attributes['container'] ?? '')
  const old = attributes['oldName']?.replace(/^\//, '')
  const names = [attributes['name'] ?? '', ...(old === undefined ? [] : [old])]
  return names
    .map((name) => environmentOfContainer(naming, { name, labels: attributes }))
    .filter((environment) => environment !== null)
}

function makersOf(fence: WatchDependencies['fence'], id: string): EnvironmentName[] {
  return fence.environments().filter((name) => fence.record(name).made[id] !== undefined)
}

/** Judges an environment once for all that is asked within a moment, as deep as the deepest question. */
function askInTurn({ judge, logger }: WatchDependencies, signal: AbortSignal): Ask {
  const busy = new Set<EnvironmentName>()
  const due = new Map<EnvironmentName, { timer: NodeJS.Timeout; latest: number; depth: Depth }>()

  const ask: Ask = (environment, wanted) => {
    if (signal.aborted) return
    const time = performance.now()
    const waiting = due.get(environment)
    clearTimeout(waiting?.timer)
    const latest = waiting?.latest ?? time + latestMs
    const depth = waiting?.depth === 'content' ? 'content' : wanted
    const afterMs = Math.max(0, Math.min(settleMs, latest - time))
    const timer = setTimeout(() => void run(environment), afterMs)
    due.set(environment, { timer, latest, depth })
  }
  const run = async (environment: EnvironmentName) => {
    const depth = due.get(environment)?.depth ?? 'settings'
    due.delete(environment)
    if (signal.aborted) return
    if (busy.has(environment)) return ask(environment, depth)
    busy.add(environment)
    try {
      const { again } = await judge(environment, depth)
      if (again) ask(environment, 'settings')
    } catch (error) {
      logger.warn({ err: error, environment }, 'cannot compare what runs')
    } finally {
      busy.delete(environment)
    }
  }
  signal.addEventListener('abort', () => due.forEach(({ timer }) => clearTimeout(timer)), {
    once: true,
  })
  return ask
}
