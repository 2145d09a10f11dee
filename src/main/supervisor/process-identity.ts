import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

/** A process that a pid alone does not name: pids are used again, after a reboot at once. */
export type Identity = { pid: number; startToken: string }

/**
 * The boot and the tick at which the process `pid` began; undefined when there is none, or when it has
 * ended and only waits to be reaped. One whose main thread has ended while others still end is not gone:
 * it holds its files and their locks. See proc(5), fields 3, 20 and 22 of /proc/<pid>/stat.
 */
export function startTokenOf(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`)
  const boot = readText('/proc/sys/kernel/random/boot_id')
  if (stat === undefined || boot === undefined) return undefined
  // The command's name, in parentheses, may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, threads, started] = [fields[0], Number(fields[17]), fields[19]]
  const gone = state === 'X' || (state === 'Z' && threads <= 1)
  if (gone || started === undefined) return undefined
  return `${boot.trim()}:${started}`
}

export function lives({ pid, startToken }: Identity): boolean {
  return startTokenOf(pid) === startToken
}

/** Sends a signal to exactly this process; says whether it was there to receive it. */
export function signalExactly(one: Identity, signal: NodeJS.Signals): boolean {
  if (!lives(one)) return false
  return signalPid(one.pid, signal)
}

/** Waits until all are gone. Resolves to those that still live at the deadline. */
export async function waitGone(all: readonly Identity[], withinMs: number): Promise<Identity[]> {
  const limit = AbortSignal.timeout(withinMs)
  let left = all.filter(lives)
  while (left.length > 0 && !limit.aborted) {
    await wait(20)
    left = left.filter(lives)
  }
  return left
}

/** Every living process whose environment, as it was at its start, holds `NAME=value`. */
export function processesMarked(name: string, value: string): Identity[] {
  const found: Identity[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isSafeInteger(pid) || pid === process.pid) continue
    const variables = readText(`/proc/${pid}/environ`)?.split('\0') ?? []
    if (!variables.includes(`${name}=${value}`)) continue
    const startToken = startTokenOf(pid)
    if (startToken !== undefined) found.push({ pid, startToken })
  }
  return found
}

/** Signals a process, or with a negative number a group; false when there is none. */
export function signalPid(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch {
    return false
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
