import { ApplicationFailure } from '@temporalio/workflow'
import type { Operation } from '../src/domain/operation.ts'
import type { ChangeRequest } from '../src/domain/request.ts'
import { ended, track, type Tracked } from './tracking.ts'

export type Waiting = { request: ChangeRequest; operation: Tracked }
export type Carried = { waiting: readonly Waiting[]; past: readonly Operation[] }

/** Requests that may wait in one environment; one more is refused as overload (I18). */
const waitingLimit = 16
/** Ended operations kept for followers; older ones are in the ledger. */
const pastLimit = 40

/** The requests of one environment: those that wait, the one that runs, those that ended lately. */
export class WaitingList {
  readonly waiting: Waiting[]
  readonly past: Operation[]
  current: { operation: Tracked; cancel: boolean } | null = null

  constructor(carried: Carried | undefined) {
    this.waiting = [...(carried?.waiting ?? [])]
    this.past = [...(carried?.past ?? [])]
  }

  all(): Operation[] {
    const running = this.current === null ? [] : [this.current.operation]
    return [...this.past, ...running, ...this.waiting.map((one) => one.operation)]
  }

  find(id: string): Operation | null {
    return this.all().find((operation) => operation.id === id) ?? null
  }

  checkRoom(request: ChangeRequest): void {
    if (request.wish.kind === 'return') return
    if (this.find(request.id) === null && this.waiting.length >= waitingLimit) {
      throw ApplicationFailure.nonRetryable(
        `${this.waiting.length} requests wait already`,
        'overloaded',
      )
    }
  }

  /** The same request again is the same operation; a newer promotion takes the place of waiting older ones. */
  add(request: ChangeRequest): void {
    if (this.find(request.id) !== null) return
    if (request.wish.kind === 'promotion') this.supersede(request)
    const waiting = { request, operation: begin(request) }
    // What was denied is taken away before anything else is done.
    if (request.wish.kind === 'return') this.waiting.unshift(waiting)
    else this.waiting.push(waiting)
  }

  cancel(id: string): Operation['state'] {
    const at = this.waiting.findIndex((one) => one.operation.id === id)
    for (const { operation } of at < 0 ? [] : this.waiting.splice(at, 1)) {
      ended(operation, 'cancelled')
      this.keep(operation)
    }
    if (this.current?.operation.id === id) this.current.cancel = true
    return this.find(id)?.state ?? 'cancelled'
  }

  keep(operation: Operation): void {
    this.past.push(operation)
    this.past.splice(0, Math.max(0, this.past.length - pastLimit))
  }

  private supersede(by: ChangeRequest): void {
    for (const one of this.waiting.filter((other) => other.request.wish.kind === 'promotion')) {
      this.waiting.splice(this.waiting.indexOf(one), 1)
      ended(one.operation, 'superseded', { result: { supersededBy: by.id } })
      this.keep(one.operation)
    }
  }
}

function begin(request: ChangeRequest): Tracked {
  return track({
    id: request.id,
    kind: request.wish.kind,
    subject: request.environment,
    requestedBy: request.principal.name,
    requestedAt: request.requestedAt,
  })
}
