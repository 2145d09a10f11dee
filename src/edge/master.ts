import { execFile } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { KilnError } from '../domain/error.ts'
import { parseStat, workerPid, type Row } from './runtime-api.ts'
import { ask } from './socket.ts'

export type EdgePaths = {
  /** `edge/haproxy.cfg`; the readiness map lies beside it. */
  config: string
  state: string
  map: string
  /** Unix sockets: at most 90 characters, since HAProxy adds a suffix while it binds. */
  socket: string
  masterSocket: string
}

/** HAProxy's processes as its master lists them. */
export type Processes = { worker: number | null; old: readonly number[] }

export function parseProcesses(text: string): Processes {
  const [, after = ''] = text.split('# workers')
  const [current = '', old = ''] = after.split('# old workers')
  return { worker: workerPids(current)[0] ?? null, old: workerPids(old) }
}

function workerPids(part: string): number[] {
  return [...part.matchAll(/^(\d+)\s+worker/gm)].map((match) => Number(match[1]))
}

export async function showProcesses({ masterSocket }: EdgePaths): Promise<Processes> {
  return parseProcesses(await ask(masterSocket, 'show proc'))
}

/** `show stat` of a worker that a reload replaced and that still has clients; empty when it is gone. */
export async function showOldStat({ masterSocket }: EdgePaths, pid: number): Promise<Row[]> {
  return parseStat(await ask(masterSocket, `@!${pid} show stat`))
}

const reloadWithinMs = 10_000

/**
 * Lets a new worker take over the listeners with the file as it is, and returns once that worker serves.
 * The file is checked first: a master whose file is broken may not come back. Throws `edge_unavailable`.
 */
export async function reload(paths: EdgePaths, haproxy: string): Promise<void> {
  await checkConfig(paths, haproxy)
  const before = await showProcesses(paths)
  await ask(paths.masterSocket, 'reload')
  for (let waitedMs = 0; waitedMs < reloadWithinMs; waitedMs += 50) {
    if (await hasNewWorker(paths, before)) return
    await delay(50)
  }
  throw new KilnError('edge_unavailable', 'HAProxy did not take its new configuration', {
    place: paths.config,
    fix: 'the log of haproxy says why, for example a port that another program took',
  })
}

async function hasNewWorker(paths: EdgePaths, before: Processes): Promise<boolean> {
  try {
    const { worker } = await showProcesses(paths)
    if (worker === null || worker === before.worker) return false
    return (await workerPid(paths.socket)) === worker
  } catch (error) {
    // The master executes itself anew and does not answer in between.
    if (error instanceof KilnError && error.code === 'edge_unavailable') return false
    throw error
  }
}

async function checkConfig({ config }: EdgePaths, haproxy: string): Promise<void> {
  try {
    await promisify(execFile)(haproxy, ['-c', '-q', '-f', config], { timeout: 10_000 })
  } catch (cause) {
    const output =
      cause instanceof Error && 'stderr' in cause ? String(cause.stderr) : String(cause)
    throw new KilnError('internal', 'HAProxy refuses the configuration that Kiln made', {
      place: config,
      cause,
      lines: output.trim().split('\n').slice(-20),
    })
  }
}
