import { readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import type { Definition, Probe } from '../domain/definition.ts'
import type { Endpoint } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'
import { routeKey, routeText } from '../domain/route.ts'
import type { Route } from '../domain/definition.ts'

/** `joining`: in HAProxy, without traffic, until its check passes. `leaving`: finishes what it has. */
export type EdgeServer = {
  name: string
  address: string
  port: number
  /** Null: a TCP connection is enough. */
  path: string | null
  intervalMs: number
  /** How many checks in a row take requests away from it, and give them back; HAProxy's file has defaults. */
  fall?: number
  rise?: number
  /** Its place at the shared entrance. */
  route?: Route
  drainMs: number
  state: 'joining' | 'ready' | 'leaving'
}

export type EdgeEnvironment = {
  environment: EnvironmentName
  /** The environment's own port on loopback, for as long as it exists. */
  port: number
  servers: readonly EdgeServer[]
}

/** What HAProxy shall do: written before it is told, so that a killed HAProxy comes back right. */
export type EdgeState = { version: 1; environments: readonly EdgeEnvironment[] }

export const emptyState: EdgeState = { version: 1, environments: [] }

/** What may stand in HAProxy's file and commands: no space, quote, semicolon or escape. */
const word = /^[\w.-]{1,200}$/
const readinessPath = /^\/[\w.~/?=&%+@:-]{0,500}$/
const routeHost = /^[a-z0-9.-]{1,253}$/
const routePath = /^\/[\w.~/-]{0,200}$/

const form = z.strictObject({
  version: z.literal(1),
  environments: z.array(
    z.strictObject({
      environment: z.string().transform((text) => parseEnvironmentName(text).name),
      port: z.int().min(1).max(65535),
      servers: z.array(
        z.strictObject({
          name: z.string().regex(word),
          address: z.ipv4(),
          port: z.int().min(1).max(65535),
          path: z.string().regex(readinessPath).nullable(),
          intervalMs: z.int().positive(),
          fall: z.int().positive().exactOptional(),
          rise: z.int().positive().exactOptional(),
          route: z
            .strictObject({
              host: z.string().regex(routeHost).exactOptional(),
              path: z.string().regex(routePath).exactOptional(),
            })
            .exactOptional(),
          drainMs: z.int().nonnegative(),
          state: z.enum(['joining', 'ready', 'leaving']),
        }),
      ),
    }),
  ),
})

/** Empty when there is none yet. Throws `store_unsuitable` when it is damaged. */
export async function readState(path: string): Promise<EdgeState> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (text === null) return emptyState
  try {
    return form.parse(JSON.parse(text))
  } catch (cause) {
    throw new KilnError('store_unsuitable', 'the edge cannot read its state', {
      place: path,
      cause,
      fix: 'remove the file and start Kiln again: the next change of each environment makes it anew',
    })
  }
}

export function environmentIn(
  state: EdgeState,
  environment: EnvironmentName,
): EdgeEnvironment | undefined {
  return state.environments.find((one) => one.environment === environment)
}

/** With the environment at this port, its servers as they were. */
export function withPort(state: EdgeState, environment: EnvironmentName, port: number): EdgeState {
  const servers = environmentIn(state, environment)?.servers ?? []
  return withEnvironment(state, { environment, port, servers })
}

function withEnvironment(state: EdgeState, changed: EdgeEnvironment): EdgeState {
  const others = state.environments.filter((one) => one.environment !== changed.environment)
  const environments = [...others, changed].toSorted((a, b) =>
    a.environment < b.environment ? -1 : 1,
  )
  return { ...state, environments }
}

function withServers(
  state: EdgeState,
  environment: EnvironmentName,
  change: (servers: readonly EdgeServer[]) => readonly EdgeServer[],
): EdgeState {
  const found = environmentIn(state, environment)
  return found === undefined
    ? state
    : withEnvironment(state, { ...found, servers: change(found.servers) })
}

/** With the instances as servers that join; one that is there already at the same place stays as it is. */
export function joining(
  state: EdgeState,
  environment: EnvironmentName,
  servers: readonly EdgeServer[],
): EdgeState {
  for (const { route } of servers) if (route) assertFree(state, environment, route)
  return withServers(state, environment, (present) => {
    const fresh = servers.filter(
      (server) => !present.some((one) => isSame(one, server) && one.state !== 'leaving'),
    )
    const names = new Set(fresh.map((server) => server.name))
    return [...present.filter((one) => !names.has(one.name)), ...fresh]
  })
}

/** The second lock of routes: the plan refuses first, unless two plans were made at the same moment. */
function assertFree(state: EdgeState, environment: EnvironmentName, route: Route): void {
  const holder = state.environments.find(
    (one) =>
      one.environment !== environment &&
      one.servers.some((server) => server.route && routeKey(server.route) === routeKey(route)),
  )
  if (holder === undefined) return
  throw new KilnError(
    'refused',
    `the route ${routeText(route)} belongs to ${holder.environment} at the edge`,
    {
      place: 'route-taken',
      fix: `give ${environment} another route in kiln.yaml, or first promote a version of ${holder.environment} without it`,
    },
  )
}

function isSame(a: EdgeServer, b: EdgeServer): boolean {
  return (
    a.name === b.name &&
    a.address === b.address &&
    a.port === b.port &&
    a.path === b.path &&
    a.fall === b.fall &&
    a.rise === b.rise &&
    isDeepStrictEqual(a.route, b.route)
  )
}

export function inState(
  state: EdgeState,
  environment: EnvironmentName,
  { names, state: next }: { names: readonly string[]; state: EdgeServer['state'] },
): EdgeState {
  return withServers(state, environment, (present) =>
    present.map((one) => (names.includes(one.name) ? { ...one, state: next } : one)),
  )
}

export function without(
  state: EdgeState,
  environment: EnvironmentName,
  names: readonly string[],
): EdgeState {
  return withServers(state, environment, (present) =>
    present.filter((one) => !names.includes(one.name)),
  )
}

/** Throws `invalid_input` for what may not stand in HAProxy's file. */
export function serverOf({ name, address, port }: Endpoint, definition: Definition): EdgeServer {
  const { readiness, route, stop } = definition
  if (!word.test(name) || !z.ipv4().safeParse(address).success) {
    throw new KilnError('invalid_input', `not an instance for the edge: ${name} at "${address}"`)
  }
  if (route !== undefined) assertRoute(route)
  return {
    name,
    address,
    port,
    ...checksOf(readiness),
    ...(route === undefined ? {} : { route }),
    drainMs: stop.drainMs,
    state: 'joining',
  }
}

function assertRoute(route: Route): void {
  if (routeHost.test(route.host ?? 'any') && routePath.test(route.path ?? '/')) return
  throw new KilnError('invalid_input', `not a route: ${JSON.stringify(route)}`, { place: 'route' })
}

function checksOf(readiness: Probe): Pick<EdgeServer, 'path' | 'intervalMs' | 'fall' | 'rise'> {
  const { intervalMs, threshold, rise } = readiness
  const path = 'path' in readiness ? readiness.path : null
  if (path !== null && !readinessPath.test(path)) {
    throw new KilnError('invalid_input', `not a readiness path: ${JSON.stringify(path)}`, {
      place: 'readiness.path',
      fix: 'use letters, digits and ._~/?=&%+@:- only',
    })
  }
  return {
    path,
    intervalMs,
    ...(threshold === undefined ? {} : { fall: threshold }),
    ...(rise === undefined ? {} : { rise }),
  }
}
