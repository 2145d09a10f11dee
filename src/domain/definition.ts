import type { Digest } from './digest.ts'

/**
 * What `kiln.yaml` at an artifact's commit says of one environment, without the instance count
 * (counts change by `scale`, which needs no key). Its digest is SHA-256 over its JCS bytes; the
 * provisioning key binds it, so a rollback restores the pair (digest, definition).
 */
export type Definition = {
  version: 1
  environment: string
  port: number
  readiness: { path: string; intervalMs: number; timeoutMs: number }
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
}
