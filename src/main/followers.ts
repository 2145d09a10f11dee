import { setTimeout as sleep } from 'node:timers/promises'
import { hasEnded, type Operation } from '../domain/operation.ts'
import { sharedRun } from '../store/shared-run.ts'
import { nextLookMs } from './look.ts'

type Get = (id: string) => Promise<Operation | undefined>
type Seen = AsyncIterable<{ id: number; operation: Operation }>

/** So many looks in a row may fail before a stream of them does. */
const patience = 5

/** Grows with everything that happens to an operation, and means the same after a restart. */
function versionOf(operation: Operation): number {
  const begun = operation.steps.length
  const done = operation.steps.filter((step) => step.endedAt !== null).length
  const attempt = Math.min(
    998,
    Math.max(
      0,
      ...operation.steps.filter((step) => step.endedAt === null).map((step) => step.attempt),
    ),
  )
  const phase = (operation.state === 'queued' ? 0 : 1) + (hasEnded(operation) ? 1 : 0)
  return (begun + done + phase) * 1000 + attempt + 1
}

/**
 * Follows operations to their ends, each from what is new after a version. However many follow one, they look
 * together: Temporal lets few questions wait for a workflow that is at work, and refuses the others.
 */
export function followers(get: Get): (id: string, after: number, signal: AbortSignal) => Seen {
  const looks = new Map<string, { look: () => Promise<Operation | undefined>; by: number }>()
  return async function* (id, after, signal) {
    const shared = looks.get(id) ?? { look: sharedRun(() => get(id)), by: 0 }
    looks.set(id, shared)
    shared.by += 1
    try {
      yield* follow(shared.look, after, signal)
    } finally {
      shared.by -= 1
      if (shared.by === 0) looks.delete(id)
    }
  }
}

/** A look that fails says nothing of the work: the next one may tell. */
async function* follow(
  look: () => Promise<Operation | undefined>,
  after: number,
  signal: AbortSignal,
): Seen {
  let seen = after
  let since = performance.now()
  let failed = 0
  while (!signal.aborted) {
    const looked = await look().then(
      (operation) => ({ operation }),
      (error: unknown) => ({ error }),
    )
    if ('error' in looked) {
      failed += 1
      if (failed === patience) throw looked.error
    } else {
      failed = 0
      const { operation } = looked
      if (operation === undefined) return
      const version = versionOf(operation)
      if (version > seen) {
        seen = version
        since = performance.now()
        yield { id: version, operation }
      }
      if (hasEnded(operation)) return
    }
    await sleep(nextLookMs(performance.now() - since), undefined, { signal }).catch(() => undefined)
  }
}
