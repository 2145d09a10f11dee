import type { Digest } from './digest.ts'
import type { PipelineStep } from './definition.ts'
import type { EnvironmentName } from './name.ts'

/** SHA-256 of a ledger leaf (RFC 6962 leaf hash), 64 hexadecimal characters: how statements name each other. */
export type Leaf = string

/** Who asked for something: a token's name, `kiln` for what Kiln does by itself. */
export type Principal = { name: string; kind: 'token' | 'kiln' }

export type Served = { digest: Digest; definition: Digest; sequence: number }

/** An app's commit, as the source room found it. */
export type Source = {
  repository: string
  commit: string
  tree: string
  /** Seconds since 1970; the build's clock. */
  committedAt: number
  subject: string
  /** The app's folder, where the repository holds several; absent where it is one app. */
  path?: string | undefined
  /** Beside `path`: names the app's files and what else counts as its own (docs/kiln-yaml.md). */
  content?: Digest | undefined
}

export type TemplateLock = { name: string; lock: Digest }

/** record role: an artifact whose signed provenance was read back and verified. Subject: the artifact. */
export type SealedBody = {
  state: 'sealed'
  build: string
  app: string
  source: Source
  /** `base`: the template that it stands on; absent where that was not on record yet. */
  template: { name: string; lock: Digest; base?: TemplateLock | undefined }
  provenance: Leaf
  sbom: Leaf
  /** Blob: the per-file manifest. */
  files: Digest
  /** Blob: kiln.yaml as canonical JSON. */
  specification: Digest
  pipeline: readonly PipelineStep[]
}

/** record role: a build that ended without an artifact. Subject: the build id's hash. */
export type RejectedBody = {
  state: 'rejected'
  build: string
  app: string
  source: Source
  code: string
  message: string
}

/** `return` and `stop` follow a denial: to the stored rollback target, or to nothing where there is none. */
export type ChangeKind =
  | 'promotion'
  | 'rollback'
  | 'scale'
  | 'replacement'
  | 'rotation'
  | 'return'
  | 'stop'

/** record role: the environment's next epoch is taken. Subject: the artifact that shall serve. */
export type ChangeBody = {
  environment: EnvironmentName
  epoch: number
  /** Leaf of the environment's last valid change; null for its first. */
  tip: Leaf | null
  change: string
  changeKind: ChangeKind
  target: { digest: Digest; definition: Digest }
  instances: number
  from: Served | null
  rollbackTo: { sequence: number; digest: Digest } | null
  reason: string
  requestedBy: string
  plan: Digest
}

/** record role: the outcome of a change. `serving` is what serves now, null when nothing does. */
export type ActivationBody = {
  environment: EnvironmentName
  epoch: number
  change: string
  outcome: 'active' | 'failed'
  key: Leaf | null
  serving: Served | null
  instances: readonly { name: string; id: string }[]
  /** Why it failed: an error code and a line for people. */
  failure: { code: string; message: string } | null
}

export const driftCauses = [
  'stopped',
  'removed',
  'restarted',
  'foreign',
  'paused',
  'unresponsive',
  /** A file in its writable layer. */
  'content',
  /** A process that its own did not start. */
  'process',
  /** Made or changed to be other than its definition says: limits, capabilities, mounts, labels, variables. */
  'settings',
  /** In a network that is not its environment's, or not in that one. */
  'network',
  /** Not an instance: a server of the edge that no key names, or that was changed. Nothing is replaced for it. */
  'edge',
  /** Somebody was let into it, on record (`break-glass`). */
  'break-glass',
  'unknown',
] as const
export type DriftCause = (typeof driftCauses)[number]

/** record role: what runs differs from what is admissible. Subject: the artifact that should run. */
export type DriftBody = {
  environment: EnvironmentName
  epoch: number
  instance: string
  cause: DriftCause
  found: string
  expected: string
}

/** record role: a person lifts the hold that a rollback set. Subject: the artifact that serves. */
export type ReleaseBody = {
  environment: EnvironmentName
  change: string
  reason: string
  requestedBy: string
}

/**
 * record role: a person may enter one instance until then; `until` that is not after the statement's own
 * time ends it. Subject: the artifact that serves.
 */
export type BreakGlassBody = {
  environment: EnvironmentName
  instance: string
  /** The container's id. */
  id: string
  until: string
  reason: string
  requestedBy: string
}

/** record role: a request that a rule refused. Subject: the artifact it was about. */
export type RefusalBody = {
  environment: EnvironmentName | null
  change: string
  rule: string
  message: string
  requestedBy: string
}

/** The provisioning key's own part of its VSA; see docs/formats.md. */
export type KeyBody = {
  environment: EnvironmentName
  sequence: number
  epoch: number
  previous: Leaf | null
  rollbackTo: { sequence: number; digest: Digest } | null
  digest: Digest
  definition: Digest
  template: Digest
  commit: string
  requestedBy: string
  approvedBy: readonly string[]
  plan: Digest
}

/** build role. Subject: the artifact. */
export type ProvenanceBody = {
  build: string
  app: string
  commit: string
  template: { name: string; lock: Digest }
}

/**
 * deny role. Subject: the artifact that may never start again; with `of` what else is denied: one
 * provisioning key, a template's lock and with it all that was or will be built from it, or what a
 * signing key said at log indexes in `[from, to)`, and with it all that rests on that.
 */
export type DenialBody = { reason: string; requestedBy: string; of?: DeniedOther | undefined }

export type DeniedOther =
  | { kind: 'key'; environment: EnvironmentName; sequence: number; key: Leaf }
  | { kind: 'template'; name: string; lock: Digest }
  | { kind: 'signing-key'; role: DeniableRole; fingerprint: Digest; from: number; to: number }

/** A root's word cannot be denied: every other key rests on it. */
export type DeniableRole = 'build' | 'test' | 'promote' | 'deny' | 'record'

/** A ledger entry as the fold reads it: whose signature and inclusion were checked before. */
export type Fact = { leaf: Leaf; index: number; time: string; artifact: Digest | null } & (
  | { kind: 'roles' }
  | { kind: 'provenance'; body: ProvenanceBody }
  | { kind: 'sbom' }
  | { kind: 'sealed'; body: SealedBody }
  | { kind: 'rejected'; body: RejectedBody }
  | { kind: 'change'; body: ChangeBody }
  | { kind: 'key'; body: KeyBody }
  | { kind: 'activation'; body: ActivationBody }
  | { kind: 'drift'; body: DriftBody }
  | { kind: 'release'; body: ReleaseBody }
  | { kind: 'refusal'; body: RefusalBody }
  | { kind: 'break-glass'; body: BreakGlassBody }
  | { kind: 'denial'; body: DenialBody }
)

export type FactKind = Fact['kind']
export type FactOf<K extends FactKind> = Extract<Fact, { kind: K }>
