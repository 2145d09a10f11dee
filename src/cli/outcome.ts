import { isDigest, shortDigest } from '../domain/digest.ts'
import { errors, KilnError } from '../domain/error.ts'
import type { Operation, OperationState } from '../domain/operation.ts'

/** The exit code when the person left and the work goes on. */
export const detachedExit = 130

const exits = {
  queued: 0,
  running: 0,
  succeeded: 0,
  unchanged: 0,
  failed: 1,
  refused: 5,
  cancelled: 1,
  superseded: 6,
} as const satisfies Record<OperationState, number>

/** What the exit code says of an operation: the failure's own code where it has one. */
export function exitOf(operation: Operation): number {
  const { state, failure } = operation
  if (failure === null || exits[state] === 0) return exits[state]
  return errors[failure.code].exit
}

export function exitOfError(error: unknown): number {
  return error instanceof KilnError ? errors[error.code].exit : errors.internal.exit
}

/** One sentence: what came out. */
export function sentence({ subject, state, kind, result }: Operation): string {
  const digest = shortResult(result['digest'])
  const key = typeof result['sequence'] === 'number' ? ` (key ${result['sequence']})` : ''
  switch (state) {
    case 'succeeded':
      return digest === ''
        ? `${subject}: ${kind} done`
        : `${subject}: ${kind} done, ${digest}${key}`
    case 'unchanged':
      return `${subject}: already at ${digest === '' ? 'what was asked for' : digest}${key}`
    case 'superseded':
      return `${subject}: a newer request took its place`
    case 'queued':
    case 'running':
    case 'failed':
    case 'refused':
    case 'cancelled':
      return `${subject}: ${kind} ${state}`
  }
}

/** Of a revocation: each environment that served what was denied, and what became of it. */
export function reached({ result }: Operation): [environment: string, end: string][] {
  return Object.entries(result)
    .filter(([name]) => name.includes('/'))
    .map(([name, end]) => [name, String(end)])
}

/** The same for a program: id, state, digest in full or `-`. */
export function fields({ id, state, result }: Operation): string {
  return [id, state, result['digest'] ?? '-'].join('\t')
}

export function shortResult(value: unknown): string {
  return typeof value === 'string' && isDigest(value) ? shortDigest(value) : ''
}

/** What to do next about an operation that did not succeed, with the ids filled in. */
export function nextCommand({ id, kind, failure, result }: Operation): string {
  if (failure !== null && failure.fix !== null) return failure.fix
  const build = result['build']
  if (typeof build === 'string') return `kiln logs ${build}`
  return kind === 'build' || kind === 'rebuild' ? `kiln logs ${id}` : `kiln operations ${id}`
}
