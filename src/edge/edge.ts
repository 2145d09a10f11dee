import { createServer } from 'node:net'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { replaceFile } from '../store/replace-file.ts'
import { acceptedIn, dropBroken } from './certificate-files.ts'
import { edgeAddress, renderConfig, renderMap, shapeIn, shapeName } from './config.ts'
import { hostsName, hostsOf, renderMapOf, routesName, routesOf, type Entrance } from './entrance.ts'
import { reload, type EdgePaths } from './master.ts'
import { showVariable } from './runtime-api.ts'
import { environmentIn, readState, withPort, type EdgeState } from './state.ts'

/** Changes of the state, one at a time: state durable, then map and configuration, then HAProxy is told. */
export type Edge = {
  paths: EdgePaths
  read: () => Promise<EdgeState>
  /** Writes what `change` makes of the state, and HAProxy's files from it; runs `tell` before any other change. */
  write: (
    change: (state: EdgeState) => EdgeState | Promise<EdgeState>,
    tell?: (state: EdgeState) => Promise<void>,
  ) => Promise<EdgeState>
}

/** What the edge is beside its state: files, and the shared entrance where there is one. */
export type EdgeFrame = { paths: EdgePaths; entrance: Entrance | null }

export function openEdge(frame: EdgeFrame, crashPoint: (name: string) => void): Edge {
  const { paths } = frame
  let last: Promise<unknown> = Promise.resolve()

  async function apply(...[change, tell]: Parameters<Edge['write']>): Promise<EdgeState> {
    const next = await change(await readState(paths.state))
    await replaceFile(paths.state, `${JSON.stringify(next, null, 2)}\n`)
    crashPoint('edge.state')
    await writeFiles(frame, next)
    crashPoint('edge.config')
    await tell?.(next)
    return next
  }

  return {
    paths,
    read: () => readState(paths.state),
    write(change, tell) {
      const mine = last.then(() => apply(change, tell))
      last = mine.catch(() => undefined)
      return mine
    },
  }
}

async function writeFiles({ paths, entrance }: EdgeFrame, state: EdgeState): Promise<void> {
  const routes = routesOf(state)
  const beside = (name: string) => join(dirname(paths.config), name)
  await replaceFile(beside(routesName), renderMapOf(routes))
  await replaceFile(beside(hostsName), renderMapOf(hostsOf(routes)))
  await replaceFile(paths.map, renderMap(state))
  const certificates = await certificatesOf(entrance)
  await replaceFile(
    paths.config,
    renderConfig(state, { socket: paths.socket, entrance, certificates }),
  )
}

async function certificatesOf(entrance: Entrance | null): Promise<readonly string[]> {
  if (entrance?.tls === null || entrance === null) return []
  return [...(await acceptedIn(entrance.tls.folder))].map((one) => one.join(' '))
}

/**
 * Reloads HAProxy if what it has loaded differs from its file in more than servers and maps, which it is
 * told of while it runs. The file must have been written.
 */
export async function loadShape(paths: EdgePaths, haproxy: string): Promise<void> {
  const wanted = shapeIn(await readFile(paths.config, 'utf8'))
  if ((await showVariable(paths.socket, shapeName)) === wanted) return
  await reload(paths, haproxy)
}

/** Makes HAProxy's files from the state that was left, or empty ones: before HAProxy is started. */
export async function renderInitialConfig(frame: EdgeFrame): Promise<void> {
  const { paths } = frame
  await mkdir(dirname(paths.config), { recursive: true, mode: 0o700 })
  await mkdir(dirname(paths.socket), { recursive: true, mode: 0o700 })
  if (frame.entrance?.tls) {
    await mkdir(frame.entrance.tls.folder, { recursive: true, mode: 0o700 })
    await dropBroken(frame.entrance.tls.folder)
  }
  await writeFiles(frame, await readState(paths.state))
}

/** HAProxy as the supervisor starts it: in the foreground, with a master that outlives reloads. */
export function haproxyCommand(paths: EdgePaths, haproxy = 'haproxy'): readonly string[] {
  return [haproxy, '-W', '-db', '-f', paths.config, '-S', `${paths.masterSocket},mode,600`]
}

export type PortRange = { first: number; last: number }

/**
 * Gives the environment a port that no other has and no program listens on: the one it had, else the one
 * of its place among all, so that an edge whose files were lost comes back as it was, else any.
 */
export async function withFreePort(
  state: EdgeState,
  environment: EnvironmentName,
  { first, last, place }: PortRange & { place?: number | undefined },
): Promise<EdgeState> {
  const taken = new Set(state.environments.map((one) => one.port))
  const own = environmentIn(state, environment)?.port
  if (own !== undefined && (await isFree(own))) return state
  const preferred = place === undefined ? [] : [first + place].filter((port) => port <= last)
  const all = Array.from({ length: last - first + 1 }, (_, n) => first + n)
  for (const port of [...preferred, ...all]) {
    if (!taken.has(port) && (await isFree(port))) return withPort(state, environment, port)
  }
  throw new KilnError(
    'edge_unavailable',
    `no port from ${first} to ${last} is free for ${environment}`,
    {
      fix: 'end the program that listens there, or give the edge a wider range',
    },
  )
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: edgeAddress, port, exclusive: true }, () => {
      server.close(() => resolve(true))
    })
  })
}
