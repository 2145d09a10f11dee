import { setTimeout as delay } from 'node:timers/promises'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { checkOptions, frontendName, fullWeight, idleClientMs, mapName } from './config.ts'
import { backendName, entranceName } from './entrance.ts'
import { showOldStat, showProcesses, type EdgePaths } from './master.ts'
import { showStat, tell, type Row } from './runtime-api.ts'
import { ask } from './socket.ts'
import type { EdgeServer } from './state.ts'

/** One environment's part of the running HAProxy. */
export type Traffic = {
  paths: EdgePaths
  environment: EnvironmentName
  now: () => Date
  signal: AbortSignal
}

const pollMs = 40

async function rows({ paths, environment }: Traffic): Promise<Row[]> {
  const backend = backendName(environment)
  return (await showStat(paths.socket)).filter(
    (row) => row.proxy === backend && row.name !== 'BACKEND',
  )
}

export async function hasFrontend({
  paths,
  environment,
}: Pick<Traffic, 'paths' | 'environment'>): Promise<boolean> {
  const frontend = frontendName(environment)
  return (await showStat(paths.socket)).some((row) => row.proxy === frontend)
}

/** Of a page, and of a connection. */
const passedChecks = new Set(['L7OK', 'L4OK'])

/** Adds the servers without traffic, and waits until HAProxy's own check of each has passed. */
export async function addServers(
  traffic: Traffic,
  servers: readonly EdgeServer[],
  withinMs: number,
): Promise<void> {
  const present = await rows(traffic)
  for (const server of servers) {
    const row = present.find((one) => one.name === server.name)
    const right = row?.address === `${server.address}:${server.port}`
    if (row !== undefined && !right) await deleteServer(traffic, server.name)
    if (!right) await addServer(traffic, server)
    const name = `${backendName(traffic.environment)}/${server.name}`
    await tell(traffic.paths.socket, `enable health ${name}`)
    await tell(traffic.paths.socket, `set server ${name} state drain`)
  }
  const names = new Set(servers.map((server) => server.name))
  const passed = await waitFor(traffic, withinMs, (found) => {
    const joined = found.filter((row) => names.has(row.name))
    return joined.length === names.size && joined.every((row) => passedChecks.has(row.check))
  })
  if (passed) return
  throw new KilnError('change_failed', 'the edge cannot reach every new instance', {
    lines: (await rows(traffic)).map((row) => `${row.name} ${row.address}: ${row.check}`),
  })
}

/** Every backend is checked by connections: nothing reads the map, and its file says the same. */
const noMap = 'Unknown map identifier. Please use #<id> or <file>.'

async function addServer({ paths, environment }: Traffic, server: EdgeServer): Promise<void> {
  const backend = backendName(environment)
  // A name that is there already would be looked up with its old path first.
  await ask(paths.socket, `del map ${mapName} ${server.name}`)
  if (server.path !== null) {
    await tell(paths.socket, `add map ${mapName} ${server.name} ${server.path}`, [noMap])
  }
  await tell(
    paths.socket,
    `add server ${backend}/${server.name} ${server.address}:${server.port} ${checkOptions(server)} weight ${fullWeight}`,
    ['New server registered.'],
  )
}

/** From now on they get requests. */
export async function openServers(
  { paths, environment }: Traffic,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    const server = `${backendName(environment)}/${name}`
    await tell(paths.socket, `set server ${server} weight ${fullWeight}`)
    await tell(paths.socket, `set server ${server} state ready`)
  }
}

/**
 * From now on they get no new request; resolves when they have none left. What is still open after
 * `drainMs` (streams, tunnels) is cut.
 */
export async function drainServers(
  traffic: Traffic,
  names: readonly string[],
  drainMs: number,
): Promise<void> {
  const { paths, environment } = traffic
  const backend = backendName(environment)
  const leaving = new Set(names)
  for (const row of await rows(traffic)) {
    if (leaving.has(row.name)) {
      await tell(paths.socket, `set server ${backend}/${row.name} state drain`)
    }
  }
  const idle = (found: readonly Row[]) =>
    found.every((row) => !leaving.has(row.name) || (row.sessions === 0 && row.queued === 0))
  if (!(await waitFor(traffic, drainMs, idle))) {
    for (const name of names) await ask(paths.socket, `shutdown sessions server ${backend}/${name}`)
  }
  await emptyOldWorkers(traffic, names, Math.max(drainMs, idleClientMs))
}

/** A worker that a reload replaced still knows the servers of its day; its last clients may be sent there. */
async function emptyOldWorkers(
  traffic: Traffic,
  names: readonly string[],
  withinMs: number,
): Promise<void> {
  const { paths, environment, now, signal } = traffic
  const began = now().getTime()
  const deadline = began + withinMs
  for (;;) {
    const idleLeft = now().getTime() - began < idleClientMs
    const busy = await busyOldWorkers(traffic, idleLeft)
    if (busy.length === 0) return
    if (now().getTime() >= deadline) {
      for (const pid of busy) {
        for (const name of names) {
          const server = `${backendName(environment)}/${name}`
          await ask(paths.masterSocket, `@!${pid} shutdown sessions server ${server}`)
        }
      }
      return
    }
    await delay(pollMs, undefined, { signal })
  }
}

/**
 * Old workers that may still send something to the environment. At the shared entrance that is every
 * client that was idle when the worker was replaced; later only what is under way in the environment
 * itself: what other environments' clients do there keeps nobody waiting.
 */
async function busyOldWorkers(
  { paths, environment }: Traffic,
  idleLeft: boolean,
): Promise<number[]> {
  const watched = new Set([frontendName(environment), backendName(environment)])
  if (idleLeft) watched.add(entranceName)
  const { old } = await showProcesses(paths)
  const busy = await Promise.all(
    old.map(async (pid) =>
      (await showOldStat(paths, pid)).some((row) => watched.has(row.proxy) && row.sessions > 0),
    ),
  )
  return old.filter((_, index) => busy[index])
}

/** Takes them out of HAProxy. It refuses to delete a server that has a connection: none is cut here. */
export async function deleteServers(traffic: Traffic, names: readonly string[]): Promise<void> {
  const leaving = new Set(names)
  for (const row of await rows(traffic)) {
    if (leaving.has(row.name)) await deleteServer(traffic, row.name)
  }
}

const deleteWithinMs = 5000

async function deleteServer(traffic: Traffic, name: string): Promise<void> {
  const { paths, environment, now, signal } = traffic
  const server = `${backendName(environment)}/${name}`
  await tell(paths.socket, `set server ${server} state maint`)
  const deadline = now().getTime() + deleteWithinMs
  for (;;) {
    const answer = await ask(paths.socket, `del server ${server}`)
    if (answer === 'Server deleted.') break
    if (now().getTime() >= deadline) {
      throw new KilnError('edge_unavailable', `HAProxy keeps ${name}: ${answer}`)
    }
    await delay(pollMs, undefined, { signal })
  }
  await ask(paths.socket, `del map ${mapName} ${name}`)
}

async function waitFor(
  traffic: Traffic,
  withinMs: number,
  reached: (found: readonly Row[]) => boolean,
): Promise<boolean> {
  const deadline = traffic.now().getTime() + withinMs
  for (;;) {
    if (reached(await rows(traffic))) return true
    if (traffic.now().getTime() >= deadline) return false
    await delay(pollMs, undefined, { signal: traffic.signal })
  }
}
