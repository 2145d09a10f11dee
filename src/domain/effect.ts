import type { EnvironmentName } from './name.ts'

/** What every effect carries: which environment, under which epoch, for which change. */
export type Effect = { environment: EnvironmentName; epoch: number; change: string }

/** Where an instance answers, as the edge needs it. */
export type Endpoint = { name: string; id: string; address: string; port: number }

/** One attempt at an activity: told when it shall end, tells that it lives. */
export type Attempt = { signal: AbortSignal; heartbeat: () => void }

/**
 * One effect at a time in each environment of a host, and none of an epoch older than one that was seen.
 * Rooms with effects take it as a port.
 */
export interface EffectFence {
  /**
   * Runs `act` once the epoch is durable and nothing else acts in the environment. A newer call aborts
   * the signal of one that still runs and waits for its end: the newer one is the living attempt.
   * Throws `fenced` for an older epoch, and `fenced` as the signal's reason for what was overtaken.
   */
  run<T>(effect: Effect, attempt: Attempt, act: (signal: AbortSignal) => Promise<T>): Promise<T>
}
