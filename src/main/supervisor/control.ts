import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isErrorCode, KilnError } from '../../domain/error.ts'
import { lockFolder } from '../../store/folder-lock.ts'
import { lastLines, supervisorLog } from './log-file.ts'
import { endOrphans } from './orphans.ts'
import { signalExactly, waitGone } from './process-identity.ts'
import { readState, readSupervisorState, type SupervisorState } from './state.ts'

const intervalMs = 50

type Launch = {
  paths: { home: string; run: string; logs: string }
  command: string
  args: readonly string[]
  environment: Readonly<Record<string, string>>
  /** Called with every new state while it starts. */
  onState?: (state: SupervisorState) => void
}

/**
 * Starts a supervisor in the background, in a session of its own, and waits until all it supervises is
 * ready. Throws `already_running`, or what it failed with.
 */
export async function launchSupervisor(launch: Launch): Promise<SupervisorState> {
  const { home, logs } = launch.paths
  const before = readSupervisorState(home)
  if (before.kind === 'running') {
    throw new KilnError('already_running', `a supervisor already runs (pid ${before.state.pid})`, {
      place: home,
      fix: 'kiln status shows what runs; kiln down stops it',
    })
  }
  const log = supervisorLog(logs)
  const { pid, ended, logStart } = spawnDetached(launch, log)
  let seen = ''
  for (;;) {
    const state = stateOf(home, pid)
    if (state && JSON.stringify(state) !== seen) {
      seen = JSON.stringify(state)
      launch.onState?.(state)
    }
    if (state?.phase === 'ready') return state
    const how = await Promise.race([ended, wait(intervalMs, undefined)])
    if (how !== undefined) throw await launchFailure(stateOf(home, pid), { how, log, logStart })
  }
}

function spawnDetached(launch: Launch, log: string) {
  mkdirSync(launch.paths.logs, { recursive: true, mode: 0o700 })
  const output = openSync(log, 'a', 0o600)
  const logStart = statSync(log).size
  const child = spawn(launch.command, launch.args, {
    env: { ...launch.environment },
    detached: true,
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  child.unref()
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`))
  })
  return { pid: child.pid, ended, logStart }
}

/** The state, if this supervisor has written it already. */
function stateOf(home: string, pid: number | undefined): SupervisorState | undefined {
  const state = readState(home)
  return state !== null && state.pid === pid ? state : undefined
}

async function launchFailure(
  state: SupervisorState | undefined,
  { how, log, logStart }: { how: string; log: string; logStart: number },
): Promise<KilnError> {
  const failure = state?.failure
  if (failure && isErrorCode(failure.code)) {
    const { code, message, fix, lines } = failure
    return new KilnError(code, message, { ...(fix === null ? {} : { fix }), lines })
  }
  const lines = await lastLines(log, 20, logStart)
  return new KilnError('not_running', `the supervisor ended while it started: ${how}`, {
    place: log,
    fix: `read ${log}`,
    lines,
  })
}

/**
 * Stops the supervisor and with it everything it runs; where only orphans are left, ends those.
 * Resolves to whether anything ran. Throws `wait_timeout` when the supervisor does not end in time.
 */
export async function stopSupervisor(
  paths: { home: string; run: string },
  { logger, withinMs = 120_000 }: { logger: Logger; withinMs?: number },
): Promise<boolean> {
  const view = readSupervisorState(paths.home)
  if (view.kind === 'running') {
    signalExactly(view.state, 'SIGTERM')
    const left = await waitGone([view.state], withinMs)
    if (left.length === 0) return true
    throw new KilnError('wait_timeout', `the supervisor (pid ${view.state.pid}) has not ended`, {
      fix: `kill -9 ${view.state.pid}, then kiln down`,
    })
  }
  if (view.orphans.length === 0) return false
  const lock = await lockFolder(paths.run)
  try {
    return (await endOrphans(paths.home, logger)) > 0
  } finally {
    lock.release()
  }
}
