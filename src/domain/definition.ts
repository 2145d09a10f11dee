import type { Digest } from './digest.ts'

/**
 * Where an environment is reached at the shared entrance: by host, by path, or by both. Without a host it
 * takes requests for every host that no route names; without a path every path.
 */
export type Route = { host?: string; path?: string }

/**
 * How an instance is asked whether it is well: by a page that answers 200 to 399, or by a TCP connection.
 * `threshold`: how many answers in a row must be missing until it counts (3 without it). `rise`: how many
 * must come in a row until it counts again (1 without it); readiness only.
 */
export type Probe = ({ path: string } | { tcp: true }) & {
  intervalMs: number
  timeoutMs: number
  threshold?: number
  rise?: number
}

/**
 * What `kiln.yaml` at an artifact's commit says of one environment, without the instance count
 * (counts change by `scale`, which needs no key). Its digest is SHA-256 over its JCS bytes; the
 * provisioning key binds it, so a rollback restores the pair (digest, definition).
 */
export type Definition = {
  version: 1
  environment: string
  port: number
  /** Whether the edge sends it requests. */
  readiness: Probe
  /** Whether it is replaced; without it an instance is replaced only when it ended or was changed. */
  liveness?: Probe
  /** Its place at the shared entrance. */
  route?: Route
  resources: { memoryMb: number; cpus: number; pids: number }
  config: Readonly<Record<string, string>>
  /** Name in the instance to `file:<name>` or `env:<NAME>`: references alone. Absent when there are none. */
  secrets?: Readonly<Record<string, string>>
  start: { timeoutMs: number }
  stop: { graceMs: number; drainMs: number }
  strategy: 'rolling'
}

/** How many instances an environment may have. */
export type InstanceRange = { min: number; max: number }

/** One environment of an app's ordered pipeline, as the ledger's `sealed` record carries it. */
export type PipelineStep = {
  environment: string
  definition: Digest
  instances: InstanceRange
  /** Whether a digest that became active in the previous environment is promoted here by itself. */
  automatic: boolean
  /** As in the definition: what collides is refused by what the ledger says. */
  route?: Route
}
