import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { CallOptions, Client } from '../../src/api/client.ts'
import { KilnError } from '../../src/domain/error.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'
import { readState, type ChildRecord } from '../../src/main/supervisor/state.ts'
import type { Kiln } from '../demo/kiln.ts'
import type { Journal } from './journal.ts'

/** A client of one Kiln that expects everybody to be dead for a while, and writes down what it is told. */
export type Session = ReturnType<typeof openSession>

/** Every death of any process makes work wait, and a piece of it sees twenty and more. */
export const patienceMs = 600_000

/** `longestMs`: how long an operation may take before the client gives it up as lost. */
export function openSession(kiln: Kiln, journal: Journal, { longestMs = patienceMs } = {}) {
  const told = (operation: Operation, what: 'accepted' | 'ended') =>
    journal.told({
      at: Date.now(),
      told: what,
      operation: operation.id,
      kind: operation.kind,
      state: operation.state,
      environment: operation.subject,
      digest: String(operation.result['digest'] ?? ''),
    })

  const call = <T>(what: (api: Client) => Promise<T>): Promise<T> => insist(kiln, what, longestMs)

  /** Asks for something with one key for all repetitions: however often it is sent, it is one operation. */
  async function start(
    ask: (api: Client, options: CallOptions) => Promise<{ operation: Operation }>,
  ): Promise<Operation> {
    const options = { idempotencyKey: randomUUID() }
    const { operation } = await call((api) => ask(api, options))
    told(operation, 'accepted')
    return operation
  }

  async function end({ id }: Pick<Operation, 'id'>): Promise<Operation> {
    const limit = Date.now() + longestMs
    for (;;) {
      const { operation } = await call((api) => api.operation({ params: { id } }))
      if (hasEnded(operation)) {
        told(operation, 'ended')
        return operation
      }
      if (Date.now() > limit) throw new Error(`${id} did not end: ${lastStep(operation)}`)
      await delay(400)
    }
  }

  return {
    kiln,
    journal,
    call,
    start,
    end,
    processes: (): ChildRecord[] => readState(kiln.home)?.processes ?? [],
    /** Waits until every process is ready. */
    async allReady(): Promise<void> {
      await until('every process is ready', 120_000, async () => {
        const processes = readState(kiln.home)?.processes ?? []
        return processes.length > 0 && processes.every(({ state }) => state === 'ready')
      })
    },
  }
}

function lastStep({ steps }: Operation): string {
  const last = steps.at(-1)
  return `${last?.name} ${last?.state} ${last?.detail ?? ''}`
}

/** An answer of the API, however often it must be asked: only what Kiln itself refuses is thrown. */
async function insist<T>(
  kiln: Kiln,
  what: (api: Client) => Promise<T>,
  longestMs: number,
): Promise<T> {
  const limit = Date.now() + longestMs
  for (;;) {
    try {
      return await what(await kiln.api())
    } catch (error) {
      if (isAnswer(error) || Date.now() > limit) throw error
      await delay(200)
    }
  }
}

/** Refused by a rule, as opposed to nobody there, or somebody who had to give up. */
function isAnswer(error: unknown): boolean {
  const final = ['refused', 'invalid_input', 'not_found', 'forbidden', 'unauthenticated']
  return error instanceof KilnError && final.includes(error.code)
}

export async function until(
  what: string,
  withinMs: number,
  holds: () => Promise<boolean>,
): Promise<void> {
  const limit = Date.now() + withinMs
  while (!(await holds())) {
    if (Date.now() > limit) throw new Error(`not within ${withinMs / 1000} s: ${what}`)
    await delay(200)
  }
}
