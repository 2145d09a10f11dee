import { setTimeout as wait } from 'node:timers/promises'
import type { Logger } from 'pino'
import { KilnError } from '../../domain/error.ts'
import { afterCrash, noCrash, type Backoff } from './backoff.ts'
import type { ProcessDescription } from './process-description.ts'
import { isTaken, placeOf, waitReady } from './readiness.ts'
import { runCommand, type Run } from './run-command.ts'
import type { ChildRecord, ChildState } from './state.ts'

export type Surroundings = {
  log: string
  logger: Logger
  now: () => Date
  /** Called after every change of the record. */
  changed: () => void
}

/** One supervised process over all of its runs. */
export class Child {
  readonly description: ProcessDescription
  #around: Surroundings
  #stopping = new AbortController()
  #run: Run | undefined
  #startedAt = 0
  /** Settles when nothing will be started any more. */
  #loop: Promise<void> = Promise.resolve()
  #record: ChildRecord

  constructor(description: ProcessDescription, around: Surroundings) {
    this.description = description
    this.#around = around
    this.#record = {
      name: description.name,
      state: 'waiting',
      pid: null,
      startToken: null,
      restarts: 0,
      since: around.now().toISOString(),
      address: description.address,
      log: around.log,
      lastExit: null,
    }
  }

  get record(): ChildRecord {
    return this.#record
  }

  /**
   * Starts it for the first time, and from then on again after every crash. Throws `not_running` with
   * the last lines of its log when it ends, or its time is over, before it was ready; and
   * `already_running` when another program answers in its place.
   */
  async start(): Promise<void> {
    await this.#refuseForeigner()
    const run = await this.#launch()
    const cause = await this.#untilReady(run)
    if (cause === undefined) {
      this.#loop = this.#keepAlive()
      return
    }
    if (this.#stopping.signal.aborted) throw this.#stopped()
    run.sweep()
    await run.ended
    this.#become('failed', { pid: null, startToken: null, lastExit: cause })
    throw new KilnError('not_running', `${this.description.name} ${cause}`, {
      place: this.#around.log,
      fix: `read ${this.#around.log}, then kiln doctor`,
      lines: await run.lastLines(20),
    })
  }

  /** Ends it for good; resolves when it, and what it started, are gone. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    if (this.#record.pid !== null) {
      this.#become('stopping')
      await this.#run?.end(this.description.graceMs)
    }
    await this.#loop
    if (this.#record.state !== 'failed') this.#become('stopped', { pid: null, startToken: null })
  }

  #become(state: ChildState, change: Partial<ChildRecord> = {}): void {
    const since = this.#around.now().toISOString()
    this.#record = { ...this.#record, ...change, state, since }
    this.#around.changed()
  }

  #stopped(): KilnError {
    return new KilnError('not_running', `${this.description.name} was stopped while it started`)
  }

  /** Its answers would be taken for the child's. */
  async #refuseForeigner(): Promise<void> {
    const { readiness, name } = this.description
    if (!(await isTaken(readiness))) return
    this.#become('failed')
    const at = placeOf(readiness)
    throw new KilnError(
      'already_running',
      `${name} cannot start: another program answers at ${at}`,
      {
        place: at,
        fix: `end that program (ss -lntxp shows it), or set another port`,
      },
    )
  }

  async #launch(): Promise<Run> {
    await this.description.prepare?.()
    if (this.#stopping.signal.aborted) throw this.#stopped()
    const run = runCommand(this.description, this.#around.log)
    this.#run = run
    this.#startedAt = this.#around.now().getTime()
    this.#become('starting', { pid: run.pid, startToken: run.startToken })
    return run
  }

  /** Resolves to why it is not ready, or undefined when it is. */
  async #untilReady(run: Run): Promise<string | undefined> {
    const { readiness, readyMs, name } = this.description
    let cause = `was not ready within ${readyMs / 1000} s`
    const gone = new AbortController()
    void run.ended.then((how) => {
      cause = `ended before it was ready: ${how}`
      return gone.abort()
    })
    const deadline = AbortSignal.timeout(readyMs)
    const signal = AbortSignal.any([gone.signal, deadline, this.#stopping.signal])
    if (!(await waitReady(readiness, signal))) return cause
    this.#become('ready')
    this.#around.logger.info({ process: name, pid: run.pid }, 'ready')
    return undefined
  }

  async #keepAlive(): Promise<void> {
    const { signal } = this.#stopping
    let backoff = noCrash
    while (!signal.aborted) {
      const how = (await this.#run?.ended) ?? 'could not be started'
      this.#run?.sweep()
      if (signal.aborted) return
      backoff = afterCrash(
        backoff,
        this.#around.now().getTime() - this.#startedAt,
        this.description.longestBackoffMs,
      )
      this.#noteCrash(how, backoff)
      await wait(backoff.delayMs, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.#startAgain()
    }
  }

  #noteCrash(how: string, { delayMs }: Backoff): void {
    const restarts = this.#record.restarts + 1
    const { name } = this.description
    this.#around.logger.warn({ process: name, how, restarts, delayMs }, 'ended; starting it again')
    this.#become('restarting', { pid: null, startToken: null, lastExit: how, restarts })
  }

  async #startAgain(): Promise<void> {
    this.#run = undefined
    try {
      const run = await this.#launch()
      const cause = await this.#untilReady(run)
      // One that hangs is ended, so that the loop goes round.
      if (cause !== undefined && !this.#stopping.signal.aborted) run.sweep()
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#around.logger.error({ process: this.description.name, err: error }, 'not started')
    }
  }
}
