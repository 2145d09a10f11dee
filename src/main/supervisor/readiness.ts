import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { Readiness } from './process-description.ts'

const intervalMs = 50
const probeMs = 2000

/**
 * Asks until the answer is yes. Resolves false when `signal` aborts first: by a deadline, by the end of
 * the process, by a stop.
 */
export async function waitReady(readiness: Readiness, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(probeMs)])
    if (await probe(readiness, limit)) return true
    await wait(intervalMs, undefined, { signal }).catch(() => undefined)
  }
  return false
}

/** Whether anything listens there right now. */
export function isTaken(readiness: Readiness): Promise<boolean> {
  return connects(targetOf(readiness), AbortSignal.timeout(probeMs))
}

type Target = { host: string; port: number } | { path: string }

function targetOf(readiness: Readiness): Target {
  if (readiness.kind === 'socket') return { path: readiness.path }
  if (readiness.kind !== 'http') return { host: readiness.host, port: readiness.port }
  const { hostname, port } = new URL(readiness.url)
  return { host: hostname, port: Number(port) }
}

/** Where the question is asked, for people. */
export function placeOf(readiness: Readiness): string {
  const target = targetOf(readiness)
  return 'path' in target ? target.path : `${target.host}:${target.port}`
}

/** One question. A failure of any kind is a no: it only means "not yet". */
async function probe(readiness: Readiness, signal: AbortSignal): Promise<boolean> {
  if (readiness.kind === 'http') return answersOk(readiness.url, signal)
  if (!(await connects(targetOf(readiness), signal))) return false
  return readiness.kind === 'check' ? readiness.check().catch(() => false) : true
}

async function answersOk(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal })
    await answer.body?.cancel()
    return answer.ok
  } catch {
    return false
  }
}

function connects(target: Target, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ ...target, signal })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
