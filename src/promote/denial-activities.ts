import type { Digest } from '../domain/digest.ts'
import type { EnvironmentState, Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Operation } from '../domain/operation.ts'
import { servesDenied } from '../domain/plan-return.ts'
import { changeId, type ChangeRequest } from '../domain/request.ts'
import type { FactOf, Principal } from '../domain/statement.ts'

type Dependencies = {
  ledger: () => Promise<Ledger>
  /** Hands a request to an environment's workflow; the same id again is the same request. */
  request: (request: ChangeRequest) => Promise<void>
  /** Asks a change to stop, where somebody works on it. */
  cancel: (
    environment: EnvironmentName,
    asked: { operation: string; principal: Principal },
  ) => Promise<void>
  /** The change as it ended, good or bad. */
  ended: (environment: EnvironmentName, change: string) => Promise<Operation>
}

export type Returning = { environment: EnvironmentName; change: string }

/** What came of an environment that served what was denied. */
export type Returned =
  | { kind: 'returned'; digest: Digest; sequence: number }
  | { kind: 'stopped' }
  | { kind: 'unaffected' }
  | { kind: 'failed'; message: string }

export type DenialActivities = ReturnType<typeof denialActivities>

export function denialActivities({ ledger, request, cancel, ended }: Dependencies) {
  return {
    /** Has every environment that serves what was denied return from it; a change that brings it is stopped. */
    async returnDenied(input: {
      /** Ends the ids of the changes: asking again asks for nothing new. */
      tail: string
      reason: string
      principal: Principal
      requestedAt: string
    }): Promise<Returning[]> {
      const { tail, reason, principal, requestedAt } = input
      const known = await ledger()
      const serving = [...known.environments.values()].filter(
        (one) => servesDenied(known, one) || asked(one, tail),
      )
      return Promise.all(
        serving.map(async ({ environment, open }) => {
          const id = changeId(environment, tail)
          if (bringsDenied(known, open))
            await cancel(environment, { operation: open.body.change, principal })
          const wish = { kind: 'return' } as const
          await request({ id, environment, wish, reason, principal, requestedAt })
          return { environment, change: id }
        }),
      )
    },

    async awaitReturn({ environment, change }: Returning): Promise<Returned> {
      const { state, result, failure } = await ended(environment, change)
      if (state === 'unchanged') return { kind: 'unaffected' }
      if (state !== 'succeeded')
        return { kind: 'failed', message: failure?.message ?? `it ended ${state}` }
      if (result['stopped'] === true) return { kind: 'stopped' }
      return {
        kind: 'returned',
        digest: result['digest'] as Digest,
        sequence: Number(result['sequence']),
      }
    },
  }
}

/** Whether it is away already because this was asked before, and not heard. */
function asked({ environment, closed }: EnvironmentState, tail: string): boolean {
  return closed?.body.change === changeId(environment, tail)
}

/** A stop names the denied artifact too, but takes it away. */
function bringsDenied(known: Ledger, open: FactOf<'change'> | null): open is FactOf<'change'> {
  if (open === null || open.body.changeKind === 'stop') return false
  return known.denied.has(open.body.target.digest)
}
