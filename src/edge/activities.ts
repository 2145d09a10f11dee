import type { Logger } from 'pino'
import type { Definition } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import type { Attempt, Effect, EffectFence, Endpoint } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Drift } from '../domain/request.ts'
import { edgeAddress } from './config.ts'
import { loadShape, openEdge, withFreePort, type Edge, type PortRange } from './edge.ts'
import type { Entrance } from './entrance.ts'
import { reload, type EdgePaths } from './master.ts'
import { mendEdge } from './mend.ts'
import { applyRoutes } from './routes.ts'
import { showStat } from './runtime-api.ts'
import { driftOfFault } from './scan.ts'
import {
  environmentIn,
  inState,
  joining,
  serverOf,
  without,
  type EdgeServer,
  type EdgeState,
} from './state.ts'
import {
  addServers,
  deleteServers,
  drainServers,
  hasFrontend,
  openServers,
  type Traffic,
} from './traffic.ts'

export type EdgeDependencies = {
  paths: EdgePaths
  ports: PortRange
  /** The address that environments with a route share; null or absent: there is none. */
  entrance?: Entrance | null
  /** Shared with others that change HAProxy's files; absent: one of its own. */
  edge?: Edge
  /** The environment's place among all there ever were, from 0, the same for ever; decides its port. */
  placeOf?: (environment: EnvironmentName) => number | undefined
  fence: EffectFence
  /** A definition's content, checked against its digest. */
  definition: (digest: Digest) => Promise<Definition>
  logger: Logger
  now: () => Date
  activity: () => Attempt
  crashPoint?: (name: string) => void
  /** The program that checks a configuration before it is loaded. */
  haproxy?: string
}

export type EdgeView = {
  address: string
  port: number
  servers: readonly (EdgeServer & { status: string; sessions: number })[]
}

export type EdgeActivities = ReturnType<typeof activitiesOf>

/** The edge between two changes, for the host's own watch. */
export type EdgeMender = (
  environment: EnvironmentName,
  instances: readonly Endpoint[],
) => Promise<readonly Drift[]>

/** The least time that HAProxy has for its own check of an instance that the host found ready. */
const leastCheckMs = 5000

/** Everything done to HAProxy, and what takes out what nobody of Kiln's did to it. One for each HAProxy. */
export function openEdgeRoom(dependencies: EdgeDependencies): {
  activities: EdgeActivities
  mend: EdgeMender
} {
  const crashPoint = dependencies.crashPoint ?? (() => undefined)
  const { paths, entrance = null, logger } = dependencies
  const edge = dependencies.edge ?? openEdge({ paths, entrance }, crashPoint)
  const context: Context = { ...dependencies, edge, crashPoint }
  return {
    activities: activitiesOf(context),
    async mend(environment, instances) {
      const traffic = trafficOf(context, environment, new AbortController().signal)
      const faults = await mendEdge(edge, traffic, instances)
      for (const fault of faults)
        logger.warn({ environment, fault }, 'the edge was changed by hand')
      return faults.map(driftOfFault)
    },
  }
}

/** Each may be repeated, and killed after its work. */
function activitiesOf(context: Context) {
  const { paths, fence, activity, edge } = context
  return {
    /** The environment's address; the first call opens it, by a reload that loses no request. */
    ensureEnvironment: (
      request: Effect & { definition: Digest },
    ): Promise<{ address: string; port: number }> =>
      fence.run(request, activity(), () => ensure(context, request.environment)),

    /** Puts the instances behind the environment's address, each once HAProxy's own check of it passed. */
    joinEdge: (
      request: Effect & { definition: Digest; instances: readonly Endpoint[] },
    ): Promise<void> => fence.run(request, activity(), (signal) => join(context, request, signal)),

    /** Lets everything that is not kept finish its requests, and takes it out. */
    leaveEdge: (request: Effect & { keep: readonly string[] }): Promise<void> =>
      fence.run(request, activity(), (signal) => leave(context, request, signal)),

    /** What stands behind the environment's address; null before its first instance. */
    async edgeState({ environment }: { environment: EnvironmentName }): Promise<EdgeView | null> {
      const found = environmentIn(await edge.read(), environment)
      if (found === undefined) return null
      const live = await showStat(paths.socket)
      const servers = found.servers.map((server) => {
        const row = live.find((one) => one.name === server.name)
        return { ...server, status: row?.status ?? 'absent', sessions: row?.sessions ?? 0 }
      })
      return { address: edgeAddress, port: found.port, servers }
    },
  }
}

type Context = EdgeDependencies & { edge: Edge; crashPoint: (name: string) => void }

async function ensure(
  { edge, paths, ports, placeOf, haproxy, crashPoint, logger }: Context,
  environment: EnvironmentName,
): Promise<{ address: string; port: number }> {
  const known = environmentIn(await edge.read(), environment)
  if (known !== undefined && (await hasFrontend({ paths, environment }))) {
    return { address: edgeAddress, port: known.port }
  }
  const state = await edge.write(
    (now) => withFreePort(now, environment, { ...ports, place: placeOf?.(environment) }),
    async () => {
      await reload(paths, haproxy ?? 'haproxy')
      crashPoint('edge.reloaded')
    },
  )
  const made = environmentIn(state, environment)
  if (made === undefined || !(await hasFrontend({ paths, environment }))) {
    throw new KilnError(
      'edge_unavailable',
      `HAProxy does not serve ${environment} after its reload`,
    )
  }
  logger.info({ environment, port: made.port }, 'environment opened at the edge')
  return { address: edgeAddress, port: made.port }
}

async function join(
  context: Context,
  request: Effect & { definition: Digest; instances: readonly Endpoint[] },
  signal: AbortSignal,
): Promise<void> {
  const { edge, crashPoint } = context
  const { environment } = request
  const definition = await context.definition(request.definition)
  const servers = request.instances.map((one) => serverOf(one, definition))
  const traffic = trafficOf(context, environment, signal)
  const state = await edge.write(
    (now) => joining(now, environment, servers),
    () => loadShape(context.paths, context.haproxy ?? 'haproxy'),
  )
  const waiting = named(state, request).filter((server) => server.state === 'joining')
  await addServers(traffic, waiting, Math.max(definition.start.timeoutMs, leastCheckMs))
  crashPoint('edge.added')
  const names = request.instances.map((one) => one.name)
  await edge.write(
    (now) => inState(now, environment, { names, state: 'ready' }),
    async (now) => {
      await openServers(traffic, names)
      await routeBy(context, now)
    },
  )
  crashPoint('edge.open')
}

function named(
  state: EdgeState,
  { environment, instances }: { environment: EnvironmentName; instances: readonly Endpoint[] },
): readonly EdgeServer[] {
  const servers = environmentIn(state, environment)?.servers
  if (servers === undefined) {
    throw new KilnError('edge_unavailable', `${environment} is not open at the edge`)
  }
  return servers.filter((server) => instances.some((one) => one.name === server.name))
}

async function leave(
  context: Context,
  { environment, keep }: Effect & { keep: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  const { edge, crashPoint } = context
  const present = environmentIn(await edge.read(), environment)?.servers ?? []
  const leaving = present.filter((server) => !keep.includes(server.name))
  if (leaving.length === 0) return
  const names = leaving.map((server) => server.name)
  const traffic = trafficOf(context, environment, signal)
  await edge.write(
    (now) => inState(now, environment, { names, state: 'leaving' }),
    (now) => routeBy(context, now),
  )
  await drainServers(traffic, names, Math.max(...leaving.map((server) => server.drainMs)))
  crashPoint('edge.drained')
  await deleteServers(traffic, names)
  crashPoint('edge.deleted')
  await edge.write(
    (now) => without(now, environment, names),
    () => loadShape(context.paths, context.haproxy ?? 'haproxy'),
  )
}

async function routeBy({ entrance, paths }: Context, state: EdgeState): Promise<void> {
  if (entrance) await applyRoutes(paths.socket, state)
}

function trafficOf(
  { paths, now }: Context,
  environment: EnvironmentName,
  signal: AbortSignal,
): Traffic {
  return { paths, environment, now, signal }
}
