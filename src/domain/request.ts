import type { Digest } from './digest.ts'
import type { EnvironmentName } from './name.ts'
import type { DriftCause, Principal } from './statement.ts'

/** What somebody wants of an environment. */
export type Wish =
  | { kind: 'promotion'; digest: Digest; automatic: boolean }
  | { kind: 'rollback'; to: Digest | null }
  | { kind: 'scale'; instances: number }
  | { kind: 'replacement'; drifts: readonly Drift[] }
  /** New instances for all, with the secrets that the host has now. */
  | { kind: 'rotation' }
  /** Away from what was denied: to the stored rollback target, or to nothing. */
  | { kind: 'return' }
  /** Lifts a rollback's hold, or the alarm of an environment. */
  | { kind: 'release'; alarm?: true }

/** A difference between what runs and what should, as the host saw it. */
export type Drift = {
  instance: string
  cause: DriftCause
  found: string
  expected: string
}

/** With what was found, each once: a host that did not hear that it was heard tells the same again. */
export function withDrifts(waiting: readonly Drift[], found: readonly Drift[]): Drift[] {
  const words = ({ instance, cause, found: seen, expected }: Drift) =>
    JSON.stringify([instance, cause, seen, expected])
  return [...new Map([...waiting, ...found].map((drift) => [words(drift), drift])).values()]
}

/** One request to an environment; `id` makes it idempotent and is the operation's id. */
export type ChangeRequest = {
  id: string
  environment: EnvironmentName
  wish: Wish
  reason: string
  principal: Principal
  requestedAt: string
}

/** `change.<app>.<environment>.<tail>`: an operation's id says which workflow knows it. */
export function changeId(environment: EnvironmentName, tail: string): string {
  return `change.${environment.replace('/', '.')}.${tail}`
}

/** The last part of a change's id: a change that follows from another one carries it on. */
export function tailOf(change: string): string {
  return change.split('.').slice(3).join('.')
}
