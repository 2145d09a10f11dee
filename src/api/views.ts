import { z } from 'zod'
import type { Digest } from '../domain/digest.ts'
import { errors, type ErrorCode } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Operation, OperationKind, OperationState, Step } from '../domain/operation.ts'
import type { ChangeKind } from '../domain/statement.ts'

/** A string schema whose values the domain gives a narrower type: the pattern is what earns the cast. */
function text<T extends string>(pattern: RegExp): z.ZodType<T, T> {
  return z.string().regex(pattern) as unknown as z.ZodType<T, T>
}

const label = z.string().regex(/^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/)
export const appLabel = label
export const digest = text<Digest>(/^sha256:[0-9a-f]{64}$/)
export const environmentName = text<EnvironmentName>(
  /^[a-z]([a-z0-9-]{0,38}[a-z0-9])?\/[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/,
)
const count = z.number().int().min(0)
export const time = z.string()
const changeKind = z.enum([
  'promotion',
  'rollback',
  'scale',
  'replacement',
  'rotation',
  'return',
  'stop',
] satisfies ChangeKind[])

/** The codes of src/domain/error.ts; the cast is safe because that table is the list. */
const errorCode = z.enum(Object.keys(errors) as [ErrorCode, ...ErrorCode[]])

const failure = z
  .object({
    code: errorCode,
    message: z.string(),
    place: z.string().nullable(),
    fix: z.string().nullable(),
    lines: z.array(z.string()).readonly(),
  })
  .meta({ id: 'Failure' })

const step = z
  .object({
    name: z.string(),
    state: z.enum(['waiting', 'running', 'done', 'failed', 'skipped'] satisfies Step['state'][]),
    startedAt: time.nullable(),
    endedAt: time.nullable(),
    attempt: count,
    detail: z.string().nullable(),
  })
  .meta({ id: 'Step' })

const operationKinds = [
  'delivery',
  'build',
  'rebuild',
  'promotion',
  'rollback',
  'scale',
  'release',
  'replacement',
  'rotation',
  'revocation',
  'rehearsal',
  'return',
  'stop',
  'watch',
] as const satisfies readonly OperationKind[]

const operationStates = [
  'queued',
  'running',
  'succeeded',
  'unchanged',
  'failed',
  'refused',
  'cancelled',
  'superseded',
] as const satisfies readonly OperationState[]

/** The domain's `Operation`, field for field: `satisfies` breaks the build when the two part. */
export const operation = z
  .object({
    id: z.string(),
    kind: z.enum(operationKinds),
    state: z.enum(operationStates),
    subject: z.string(),
    requestedBy: z.string(),
    requestedAt: time,
    endedAt: time.nullable(),
    steps: z.array(step).readonly(),
    result: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
      .readonly(),
    failure: failure.nullable(),
  })
  .meta({ id: 'Operation' }) satisfies z.ZodType<Operation>

const denied = z.object({ reason: z.string(), by: z.string(), since: time }).nullable()

export const environmentTile = z
  .object({
    name: environmentName,
    app: z.string(),
    environment: z.string(),
    /** The environment before this one in the app's pipeline; null for the first. */
    previous: environmentName.nullable(),
    /** Whether it is the last of its app's pipeline: what people asked for confirmation see. */
    last: z.boolean(),
    automatic: z.boolean(),
    epoch: count,
    active: z
      .object({
        sequence: count,
        digest,
        commit: z.string(),
        subject: z.string(),
        since: time,
        /** Set while it still serves what was denied: it is being taken away. */
        denied,
      })
      .nullable(),
    instances: z.object({ wanted: count, min: count, max: count }),
    hold: z
      .object({ change: z.string(), reason: z.string(), by: z.string(), since: time })
      .nullable(),
    /** A person has to look: replacing did not help, or what was denied was stopped and nothing took its place. */
    alarm: z
      .object({ change: z.string(), cause: z.string(), since: time, message: z.string() })
      .nullable(),
    /** The change that has no outcome yet: who asked for it, since when, and how to follow it. */
    open: z
      .object({
        operation: z.string(),
        kind: changeKind,
        epoch: count,
        digest,
        requestedBy: z.string(),
        since: time,
      })
      .nullable(),
    outcome: z
      .object({
        operation: z.string(),
        kind: changeKind,
        outcome: z.enum(['active', 'failed']),
        at: time,
        failure: z.object({ code: z.string(), message: z.string() }).nullable(),
      })
      .nullable(),
    /** Where its traffic enters, `http://127.0.0.1:<port>`; null before the first activation. */
    address: z.string().nullable(),
    /** Its addresses at the shared entrance, `http://shop.example.test:7406/api`; empty without a route. */
    routes: z.array(z.string()),
  })
  .meta({ id: 'EnvironmentTile' })

export const environmentDetail = environmentTile
  .extend({
    running: z.array(z.object({ name: z.string(), id: z.string() })),
    rollbackTo: z.object({ sequence: count, digest }).nullable(),
  })
  .meta({ id: 'Environment' })

export const historyEntry = z
  .object({
    operation: z.string(),
    kind: changeKind,
    epoch: count,
    outcome: z.enum(['open', 'active', 'failed']),
    /** The key's sequence; null for a change without a key. */
    sequence: count.nullable(),
    digest,
    commit: z.string(),
    subject: z.string(),
    from: digest.nullable(),
    instances: count,
    requestedBy: z.string(),
    reason: z.string(),
    requestedAt: time,
    endedAt: time.nullable(),
    failure: z.object({ code: z.string(), message: z.string() }).nullable(),
  })
  .meta({ id: 'HistoryEntry' })

/** An earlier good artifact, newest first. */
export const rollbackTarget = z
  .object({
    sequence: count,
    digest,
    commit: z.string(),
    subject: z.string(),
    activatedAt: time,
    requestedBy: z.string(),
  })
  .meta({ id: 'RollbackTarget' })

/** What could be promoted here: everything is listed, with the reasons against what may not. */
export const candidate = z
  .object({
    digest,
    commit: z.string(),
    subject: z.string(),
    sealedAt: time,
    eligible: z.boolean(),
    reasons: z.array(
      z.object({ rule: z.string(), message: z.string(), fix: z.string().nullable() }),
    ),
  })
  .meta({ id: 'Candidate' })

export const artifact = z
  .object({
    digest,
    app: z.string(),
    build: z.string(),
    repository: z.string(),
    commit: z.string(),
    subject: z.string(),
    /** The commit's time and the log's. */
    committedAt: time,
    sealedAt: time,
    template: z.object({ name: z.string(), lock: digest }),
    denied,
    /** Where it is active now. */
    environments: z.array(environmentName),
  })
  .meta({ id: 'Artifact' })

/** A secret's reference and whether its host has what it names. Never the value. */
export const secretState = z
  .object({
    name: z.string(),
    reference: z.string(),
    resolves: z.boolean(),
    problem: z.string().nullable(),
    fix: z.string().nullable(),
  })
  .meta({ id: 'Secret' })

export const watch = z
  .object({
    id: z.string(),
    repository: z.string(),
    branches: z.array(z.string()),
    requestedBy: z.string(),
    since: time,
    lastCommit: z.string().nullable(),
    /** Why the last look at the repository failed; null when it did not. */
    failure: z.object({ code: z.string(), message: z.string() }).nullable(),
  })
  .meta({ id: 'Watch' })

const certificate = z.object({
  name: z.string(),
  hosts: z.array(z.string()),
  /** Null: none is served. */
  expires: time.nullable(),
  fault: z.object({ rule: z.string(), message: z.string(), fix: z.string() }).nullable(),
})

/** The address that environments with a route share. */
const entrance = z.object({
  address: z.string(),
  tls: z.string().nullable(),
  certificates: z.array(certificate),
})

export const serverStatus = z
  .object({
    version: z.string(),
    startedAt: time,
    processes: z.array(
      z.object({ name: z.string(), state: z.string(), detail: z.string().nullable() }),
    ),
    /** Of Node, Docker, Temporal, HAProxy: name to version. */
    versions: z.record(z.string(), z.string()),
    ledger: z.object({ origin: z.string(), size: count }),
    alarms: z.array(z.object({ environment: environmentName, since: time, message: z.string() })),
    entrance,
  })
  .meta({ id: 'Status' })

export const reindexed = z.object({ entries: count, digest: z.string() }).meta({ id: 'Reindexed' })

/** The error document (RFC 9457) of every refused or failed request. */
export const problem = z
  .object({
    type: z.string(),
    status: z.number().int(),
    code: errorCode,
    message: z.string(),
    place: z.string().nullable(),
    fix: z.string().nullable(),
    lines: z.array(z.string()),
    requestId: z.string(),
  })
  .meta({ id: 'Problem' })
