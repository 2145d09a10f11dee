import type { z } from 'zod'
import type { DeniedSubject } from '../domain/denial.ts'
import type { Digest } from '../domain/digest.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { Operation } from '../domain/operation.ts'
import type { Role } from '../domain/role.ts'
import type { Principal } from '../domain/statement.ts'
import type { entered, scan } from './route-parts.ts'
import type { signingKey } from './signing-routes.ts'
import type * as views from './views.ts'
import type { logEntry, logEntryRequest } from './log-entry-view.ts'
import type { verification } from './verification-view.ts'
import type { webhookDelivery } from './webhook-view.ts'

export type EnvironmentTile = z.output<typeof views.environmentTile>
export type EnvironmentDetail = z.output<typeof views.environmentDetail>
export type HistoryEntry = z.output<typeof views.historyEntry>
export type RollbackTarget = z.output<typeof views.rollbackTarget>
export type Candidate = z.output<typeof views.candidate>
export type Artifact = z.output<typeof views.artifact>
export type SecretState = z.output<typeof views.secretState>
export type Watch = z.output<typeof views.watch>
export type WebhookDelivery = z.output<typeof webhookDelivery>
export type Scan = z.output<typeof scan>
export type BreakGlass = z.output<typeof entered>
export type ServerStatus = z.output<typeof views.serverStatus>
export type LogEntryRequest = z.output<typeof logEntryRequest>
export type LogEntry = z.output<typeof logEntry>
export type SigningKeyView = z.output<typeof signingKey>
export type Verification = z.output<typeof verification>
export type Reindexed = z.output<typeof views.reindexed>

/** `cursor` is what an earlier page gave as `next`, or undefined; one that was not given throws `invalid_input`. */
export type PageRequest = { limit: number; cursor: string | undefined }
export type Page<T> = { items: T[]; next: string | null }

/**
 * Who asks, and under which id (32 hexadecimal characters). A change's operation id ends with it:
 * asking again with the same one gives the same operation and starts nothing new. The API has already
 * refused another request under it. Who may do it is decided where the effect happens, by `authorize`, not here and not in a route.
 */
export type Asked = { principal: Principal; id: string }

/** Long work. Every method answers within a second; a refusal on facts is an operation that ended `refused`. */
export interface Operations {
  startBuild(
    asked: Asked,
    build: { repository: string; revision: string; useCache: boolean; app?: string | undefined },
  ): Promise<Operation>
  startRebuild(asked: Asked, rebuild: { digest: Digest }): Promise<Operation>
  /** Denies it for good, and has every environment that serves it return from it. */
  revoke(asked: Asked, denial: { subject: DeniedSubject; reason: string }): Promise<Operation>
  promote(
    asked: Asked,
    change: { environment: EnvironmentName; digest: Digest; reason: string },
  ): Promise<Operation>
  /** `to` null: the target that the active key names. */
  rollback(
    asked: Asked,
    change: { environment: EnvironmentName; to: Digest | null; reason: string },
  ): Promise<Operation>
  scale(
    asked: Asked,
    change: { environment: EnvironmentName; instances: number; reason: string },
  ): Promise<Operation>
  rotate(asked: Asked, change: { environment: EnvironmentName; reason: string }): Promise<Operation>
  /** `alarm`: not the hold of a rollback but the environment's alarm. */
  release(
    asked: Asked,
    change: { environment: EnvironmentName; reason: string; alarm: boolean },
  ): Promise<Operation>
  /** Has the host start the rollback target aside, and end it. */
  rehearse(asked: Asked, environment: EnvironmentName): Promise<Operation>
  /** Looks for drift now, in depth; takes as long as the host does. What is found is replaced as always. */
  scan(asked: Asked, environment: EnvironmentName): Promise<Scan>
  /** Lets a person into one instance, by its name or its container's id, or with 0 seconds ends that. */
  breakGlass(
    asked: Asked,
    leave: { instance: string; seconds: number; reason: string },
  ): Promise<BreakGlass>
  /** The operation as it is after the request; it may still be running. Undefined: there is none. */
  cancel(asked: Asked, operation: string): Promise<Operation | undefined>
  get(operation: string): Promise<Operation | undefined>
  list(page: PageRequest): Promise<Page<Operation>>
  /**
   * Snapshots with ids above `after`, at once the newest one, then each change; ends after the snapshot
   * in which the operation has ended, and at once when `signal` aborts. Ids are positive, grow within
   * one operation, and mean the same after a restart of the server.
   */
  watch(
    operation: string,
    after: number,
    signal: AbortSignal,
  ): AsyncIterable<{ id: number; operation: Operation }>
}

/** Polled repositories. */
export interface Watches {
  start(asked: Asked, watch: { repository: string; branches: string[] }): Promise<Watch>
  /** The watch as it was; undefined: there is none. */
  stop(asked: Asked, id: string): Promise<Watch | undefined>
  list(): Promise<Watch[]>
}

/** What the index and the ledger say. Undefined or an empty list: there is none. */
export interface Views {
  environments(): Promise<EnvironmentTile[]>
  environment(name: EnvironmentName): Promise<EnvironmentDetail | undefined>
  history(name: EnvironmentName, page: PageRequest): Promise<Page<HistoryEntry>>
  rollbackTargets(name: EnvironmentName): Promise<RollbackTarget[]>
  candidates(name: EnvironmentName): Promise<Candidate[]>
  /** Of what is active, else of the app's newest artifact; undefined: no such environment. Asks the host. */
  secrets(name: EnvironmentName): Promise<SecretState[] | undefined>
  artifacts(filter: { app: string | undefined }, page: PageRequest): Promise<Page<Artifact>>
  /** Sealed artifacts whose digest begins with these hexadecimal characters; three are enough. */
  artifactsBeginningWith(hex: string): Promise<Artifact[]>
  /** The JSON text of what is attached to a sealed artifact. */
  attached(digest: Digest, what: 'sbom' | 'files' | 'provenance'): Promise<string | undefined>
  /** The JSON text of a provisioning key's bundle. */
  keyBundle(name: EnvironmentName, sequence: number): Promise<string | undefined>
  /** The key of this sequence, or the active one, as hosts judge it. Throws `not_found`. */
  verification(name: EnvironmentName, sequence: number | undefined): Promise<Verification>
  status(): Promise<ServerStatus>
}

/** The log as auditors read it, and the fold over it. */
export interface LedgerFiles {
  checkpoint(): Promise<string>
  /** `path` is what stands after `tile/`. */
  tile(path: string): Promise<Uint8Array | undefined>
  /** The server's newest signed word that the log is so now, as JSON. */
  freshness(): Promise<string>
  /** Logs what somebody else signed. Throws `forbidden` for a key that may not, `verification_failed`, `refused`. */
  log(request: LogEntryRequest): Promise<LogEntry>
  /** What a verifier must know of the log; it pins them by what it heard elsewhere, not by this answer. */
  trusted(what: 'trusted_root.json' | 'log.vkey'): Promise<string>
  reindex(asked: Asked): Promise<Reindexed>
}

/** Signing keys by their public halves. */
export interface SigningKeys {
  /** In the order in which the log named them. */
  list(): Promise<SigningKeyView[]>
  /** Resolves when the log says it and the signer obeys it. A key that was replaced already stays replaced. */
  rotate(
    asked: Asked,
    rotation: { role: Role; replaces: string; kms: string | null },
  ): Promise<SigningKeyView[]>
}

/** Texts, not yet cleaned of control characters. Undefined: there is no such log. `tail` is in lines. */
export interface Logs {
  instances(name: EnvironmentName, tail: number): Promise<string | undefined>
  build(operation: string, tail: number): Promise<string | undefined>
}

/** What a forge sent, with the exact bytes of its body. */
export type SentWebhook = {
  forge: string
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: Uint8Array
}

/** What happened with a delivery, in words for the person who reads the forge's list of them. */
export type WebhookAnswer = {
  result: 'looking' | 'ignored' | 'already-taken'
  message: string
  delivery: string
}

/** Announcements of forges. They only make Kiln look; the repository itself says what its head is. */
export interface Webhooks {
  /** Throws `unauthenticated`, `invalid_input`, `refused` for an id that had another body, or an outage. */
  receive(sent: SentWebhook): Promise<WebhookAnswer>
  /** The newest deliveries whose signature was right. */
  list(limit: number): Promise<WebhookDelivery[]>
}
