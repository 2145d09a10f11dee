import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { Definition } from '../domain/definition.ts'
import type { Endpoint } from '../domain/effect.ts'
import { KilnError } from '../domain/error.ts'
import { parseEnvironmentName, type EnvironmentName } from '../domain/name.ts'

/** `joining`: in HAProxy, without traffic, until its check passes. `leaving`: finishes what it has. */
export type EdgeServer = {
  name: string
  address: string
  port: number
  path: string
  intervalMs: number
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
          path: z.string().regex(readinessPath),
          intervalMs: z.int().positive(),
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
  return withServers(state, environment, (present) => {
    const fresh = servers.filter(
      (server) => !present.some((one) => isSame(one, server) && one.state !== 'leaving'),
    )
    const names = new Set(fresh.map((server) => server.name))
    return [...present.filter((one) => !names.has(one.name)), ...fresh]
  })
}

function isSame(a: EdgeServer, b: EdgeServer): boolean {
  return a.name === b.name && a.address === b.address && a.port === b.port && a.path === b.path
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
  const { readiness, stop } = definition
  if (!word.test(name) || !z.ipv4().safeParse(address).success) {
    throw new KilnError('invalid_input', `not an instance for the edge: ${name} at "${address}"`)
  }
  if (!readinessPath.test(readiness.path)) {
    throw new KilnError(
      'invalid_input',
      `not a readiness path: ${JSON.stringify(readiness.path)}`,
      {
        place: 'readiness.path',
        fix: 'use letters, digits and ._~/?=&%+@:- only',
      },
    )
  }
  return {
    name,
    address,
    port,
    path: readiness.path,
    intervalMs: readiness.intervalMs,
    drainMs: stop.drainMs,
    state: 'joining',
  }
}
