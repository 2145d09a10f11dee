import { join } from 'node:path'
import type { Logger } from 'pino'
import { KilnError } from '../../domain/error.ts'
import { lockFolder } from '../../store/folder-lock.ts'
import { Child } from './child.ts'
import { rotateLog, standardLogs, supervisorLog } from './log-file.ts'
import { endOrphans } from './orphans.ts'
import { startOrder, type ProcessDescription } from './process-description.ts'
import { startTokenOf } from './process-identity.ts'
import { homeMark, writeState, type SupervisorState } from './state.ts'

export type SupervisorInput = {
  processes: readonly ProcessDescription[]
  /** `home` names the state; `run` holds it, and the lock that makes this supervisor the only one. */
  paths: { home: string; run: string; logs: string }
  logger: Logger
  clock: { now: () => Date }
  /** Stops everything, also while it still starts. */
  signal?: AbortSignal
}

export type Supervisor = {
  state(): SupervisorState
  /** Ends everything in reverse order. Calling it again waits for the same end. */
  stop(): Promise<void>
  /** Resolves when everything has ended. */
  ended: Promise<void>
}

const rotationMs = 5000

/**
 * Starts the processes, each as soon as those it depends on are ready, and keeps them running. Resolves
 * when all are ready. Throws `already_running` when another supervisor owns the home; `not_running`, with
 * the log's last lines, when a process does not come up: then everything is stopped again.
 */
export async function startSupervisor(input: SupervisorInput): Promise<Supervisor> {
  const { paths, logger } = input
  const ordered = startOrder(input.processes)
  const lock = await lockFolder(paths.run)
  await endOrphans(paths.home, logger)
  const journal = createJournal(input)
  const children = ordered.map((one) => journal.child(one))
  const logs = [...children.map(({ record }) => record.log), supervisorLog(paths.logs)]
  const rotation = setInterval(() => {
    rotateLogs(logs, logger)
    journal.catchUp()
  }, rotationMs).unref()
  const ended = Promise.withResolvers<void>()

  let stopping = false
  const stop = (failure: KilnError | null = null): Promise<void> => {
    if (!stopping) {
      stopping = true
      ended.resolve(stopAll(children, journal, failure).finally(release))
    }
    return ended.promise
  }
  const release = () => {
    clearInterval(rotation)
    lock.release()
  }

  journal.enter('starting')
  input.signal?.addEventListener('abort', () => void stop())
  try {
    input.signal?.throwIfAborted()
    await startAll(children)
  } catch (error) {
    await stop(asKilnError(error))
    throw error
  }
  if (!stopping) journal.enter('ready')
  return { state: journal.state, stop: () => stop(), ended: ended.promise }
}

async function stopAll(
  children: readonly Child[],
  journal: ReturnType<typeof createJournal>,
  failure: KilnError | null,
): Promise<void> {
  journal.enter('stopping', failure)
  for (const child of children.toReversed()) await child.stop()
  journal.enter(failure === null ? 'stopped' : 'failed', failure)
}

/** The state file follows what happens. */
function createJournal({ paths, logger, clock }: SupervisorInput) {
  const children: Child[] = []
  let state: Omit<SupervisorState, 'processes'> = {
    version: 1,
    pid: process.pid,
    startToken: startTokenOf(process.pid) ?? '',
    phase: 'starting',
    since: clock.now().toISOString(),
    failure: null,
  }
  const current = () => ({ ...state, processes: children.map((child) => child.record) })
  let onDisk = false
  // A disk that refuses must not keep anything from being started, restarted or stopped.
  const changed = () => {
    onDisk = false
    try {
      writeState(paths.home, current())
      onDisk = true
    } catch (error) {
      logger.error({ err: error }, 'the state of the processes could not be written')
    }
  }
  return {
    state: current,
    /** Writes what the disk refused before. */
    catchUp: () => void (onDisk || changed()),
    child(description: ProcessDescription): Child {
      const environment = { ...description.environment, [homeMark]: paths.home }
      const log = join(paths.logs, `${description.name}.log`)
      const around = { log, logger, now: clock.now, changed }
      const child = new Child({ ...description, environment }, around)
      children.push(child)
      return child
    },
    enter(phase: SupervisorState['phase'], error: KilnError | null = null): void {
      const failure = error === null ? null : failureOf(error)
      state = { ...state, phase, since: clock.now().toISOString(), failure }
      changed()
    },
  }
}

/** Each child waits for its own dependencies only. The first failure is the result. */
async function startAll(children: readonly Child[]): Promise<void> {
  const started = new Map<string, Promise<void>>()
  for (const child of children) {
    const needed = child.description.dependsOn.flatMap((name) => started.get(name) ?? [])
    started.set(
      child.description.name,
      Promise.all(needed).then(() => child.start()),
    )
  }
  await Promise.all(started.values())
}

function rotateLogs(logs: readonly string[], logger: Logger): void {
  for (const log of logs) {
    try {
      rotateLog(log, standardLogs)
    } catch (error) {
      logger.error({ err: error, log }, 'a log could not be rotated')
    }
  }
}

function asKilnError(error: unknown): KilnError {
  if (error instanceof KilnError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new KilnError('internal', message, { cause: error })
}

function failureOf({ code, message, fix, lines }: KilnError): SupervisorState['failure'] {
  return { code, message, fix: fix ?? null, lines: [...lines] }
}
