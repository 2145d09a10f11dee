import type { ErrorCode } from './error.ts'

/** One step of long work, as people watch it. */
export type Step = {
  name: string
  state: 'waiting' | 'running' | 'done' | 'failed' | 'skipped'
  startedAt: string | null
  endedAt: string | null
  /** 1 for the first try. */
  attempt: number
  /** What it made or waits for, in one line. */
  detail: string | null
}

export type OperationKind =
  | 'delivery'
  | 'build'
  | 'rebuild'
  | 'promotion'
  | 'rollback'
  | 'scale'
  | 'release'
  | 'replacement'
  | 'rotation'
  | 'revocation'
  | 'rehearsal'
  | 'return'
  | 'stop'
  | 'watch'

export type OperationState =
  | 'queued'
  | 'running'
  | 'succeeded'
  | 'unchanged'
  | 'failed'
  | 'refused'
  | 'cancelled'
  | 'superseded'

/** A failure as every interface shows it: the same fields as the API's problem document. */
export type Failure = {
  code: ErrorCode
  message: string
  place: string | null
  fix: string | null
  lines: readonly string[]
}

/** Long work that a person can follow by its id. */
export type Operation = {
  id: string
  kind: OperationKind
  state: OperationState
  /** What it is about: `hello/prod`, or `hello` and a commit. */
  subject: string
  requestedBy: string
  requestedAt: string
  endedAt: string | null
  steps: readonly Step[]
  /** What came out: the artifact's digest, the key's sequence and the like. */
  result: Readonly<Record<string, string | number | boolean | null>>
  failure: Failure | null
}

const ended = {
  queued: false,
  running: false,
  succeeded: true,
  unchanged: true,
  failed: true,
  refused: true,
  cancelled: true,
  superseded: true,
} as const satisfies Record<OperationState, boolean>

export function hasEnded(operation: Operation): boolean {
  return ended[operation.state]
}
