import type { Digest } from '../domain/digest.ts'

/** Says one line of progress to the person; it goes to standard error. */
export type Report = (line: string) => void

export type LocalProcess = {
  name: string
  state: 'ready' | 'starting' | 'restarting' | 'stopped'
  pid: number | null
  /** How often it was started again since `up`. */
  restarts: number
  address: string | null
  log: string | null
}

export type LocalStatus = {
  home: string
  running: boolean
  processes: readonly LocalProcess[]
  /** Why this machine's host starts nothing; null while it does. */
  hostAlarm: { host: string; since: string; message: string } | null
  /** Whether the engine that runs instances asks this Kiln's guard; `unknown`: it does not answer. */
  guard: 'in place' | 'absent' | 'unknown'
  /** What this machine's guard refused; null: nothing yet, `unreadable`: there is a record that cannot be read. */
  refusals: Refusals | null | 'unreadable'
  /** Why nothing new begins on this machine; null while its disks have room. What runs goes on. */
  lowDisk: { message: string; place: string; fix: string } | null
}

/** How often the guard refused something since it was first started, and the newest of that, newest first. */
export type Refusals = {
  since: string
  total: number
  newest: readonly {
    time: string
    rule: string
    message: string
    /** The container that it was about, and whose it is; null where that is not known or it is nobody's. */
    container: string | null
    environment: string | null
    method: string
    path: string
    /** By the client's certificate; empty where the engine knows nobody. */
    user: string
    /** As the client calls itself. */
    client: string
  }[]
}

/** Where a guard listens, and what it guards. */
export type GuardReport = { socket: string; engine: string; host: string }

/** One prerequisite: what was found, what is wanted, and what to do about it. */
export type Prerequisite = {
  name: string
  state: 'ok' | 'warning' | 'missing'
  found: string
  wanted: string
  fix: string | null
}

export type TemplateSummary = { name: string; lock: Digest | null; inputs: number }

export type TemplateInput = { name: string; version: string; size: number; digest: Digest }

export type VerifyReport = {
  /** What was verified, in full: a digest, or `<app>/<environment>@<sequence>`. */
  subject: string
  checks: readonly { name: string; passed: boolean; detail: string }[]
  /** The line that repeats the check with somebody else's tool; null when there is none for it. */
  command: string | null
}

/** What was written, and where. */
export type EvidenceReport = {
  file: string
  bytes: number
  /** `<app>/<environment>@<sequence>`. */
  subject: string
  digest: string
  statements: number
  /** Of the log, all that are below the checkpoint. */
  entries: number
  /** Fingerprint of the root key, for whoever judges the file: `sha256:<hex>`. */
  root: string
}

export type FsckReport = {
  entries: number
  /** How many of them others logged. */
  foreign: number
  /** The root of the log that was derived again. */
  root: string
  problems: readonly { place: string; message: string }[]
}

/** `address`: a server, or where `checkpoint` and `tile/` lie. `key`: the verifier key, or a file of it. */
export type MonitorRequest = { address?: string; key?: string; state?: string }

export type MonitorReport = {
  address: string
  origin: string
  /** The file that remembers what was seen. */
  state: string
  /** Whether the key was given or seen before; otherwise the log itself said it. */
  pinned: boolean
} & (
  | {
      kind: 'intact'
      size: number
      root: string
      /** Entries that were new, each of them checked. */
      fresh: number
      /** Null: it was seen for the first time. */
      seenSize: number | null
    }
  | {
      kind: 'changed'
      change: string
      message: string
      /** The two signed notes that contradict each other; null where there is none. */
      seen: string | null
      note: string | null
    }
)

/** What is said of a repository: how git asks it, and which files hold what it is asked with. */
export type KnownRepositoryView = {
  address: string
  access: 'none' | 'ssh-key' | 'token'
  /** Paths; what stands in them is never shown. */
  files: readonly string[]
  forge: 'github' | 'gitlab' | 'gitea' | null
  /** Whether its webhooks are taken, and whether its commits get a status. */
  webhook: boolean
  status: boolean
}

/** All files by their absolute paths. */
export type WantedRepository = {
  address: string
  ssh?: { keyFile: string; knownHostsFile: string }
  token?: { tokenFile: string; user?: string }
  forge?: 'github' | 'gitlab' | 'gitea'
  webhookSecretFile?: string
  status?: { tokenFile: string; api?: string }
}

export type PruneReport = {
  /** Nothing was removed. */
  dryRun: boolean
  removed: readonly { kind: 'image' | 'log' | 'cache'; name: string; bytes: number }[]
  /** Bytes free on the disk of the home afterwards, and with how many work begins. */
  free: number
  wanted: number
}

/** What `kiln gc` removed, or would remove, and what it keeps. Sizes in bytes. */
export type GcReport = {
  applied: boolean
  /** Sealed artifacts that go, with what is freed with each. */
  artifacts: readonly { digest: string; app: string; sealedAt: string; bytes: number }[]
  objects: number
  bytes: number
  /** What was used meanwhile and stayed; 0 when nothing was removed. */
  spared: number
  kept: {
    artifacts: readonly {
      digest: string
      app: string
      reason: string
      environment: string | null
    }[]
    objects: number
    bytes: number
  }
  /** What was not sealed, written or used since may go. */
  since: string
  /** Kept artifacts that are not whole; with any, nothing is removed. */
  faults: readonly string[]
}

/** Where a passphrase comes from; `none`: the signing keys are left out, as the person said. */
export type Passphrase =
  | { kind: 'text'; text: string }
  | { kind: 'file'; path: string }
  | { kind: 'variable'; name: string }
  | { kind: 'none' }

export type BackupReport = {
  folder: string
  /** Entries of the log as it was when the backup began. */
  entries: number
  objects: number
  bytes: number
  /** What was not there from an earlier backup. */
  copied: number
  copiedBytes: number
  keys: 'encrypted' | 'left out'
}

export type RestoreReport = {
  home: string
  /** The object store that was restored into. */
  store: string
  entries: number
  madeAt: string
  keys: 'restored' | 'left out'
  /**
   * How many entries of the log this person saw before that are not in it (null: another log), and the
   * file that remembers them; null: none.
   */
  lost: { entries: number | null; memory: string } | null
  /** What serves once Kiln is up. */
  environments: readonly { environment: string; digest: string; instances: number }[]
}

/**
 * What the command line does on this machine without the server. `src/main/local.ts` composes it;
 * it is loaded only when one of these verbs runs. Errors are `KilnError`s.
 */
export interface LocalVerbs {
  /** Starts what does not run and waits until all is ready. `already`: nothing had to be started. */
  up(report: Report): Promise<LocalStatus & { already: boolean }>
  /** Stops what runs, in order; stopping nothing is no error. */
  down(report: Report): Promise<{ stopped: readonly string[] }>
  status(): Promise<LocalStatus>
  doctor(): Promise<readonly Prerequisite[]>
  /** Guards the engine that runs instances until `ended`, which a signal brings about. */
  guard(socket: string | undefined): Promise<GuardReport & { ended: Promise<void> }>
  templates(): Promise<readonly TemplateSummary[]>
  template(name: string): Promise<TemplateSummary & { entries: readonly TemplateInput[] }>
  /** Resolves and writes the lock; `changes` says what is new, gone or another version, one line each. */
  lockTemplate(
    name: string,
    report: Report,
  ): Promise<{ name: string; lock: Digest; changes: readonly string[] }>
  /** Throws `lock_mismatch`, `lock_missing` or `input_unavailable`. */
  checkTemplate(name: string): Promise<TemplateSummary>
  /** `what`: a digest or its beginning, `<app>/<environment>` for its active key, or with `@<sequence>`. `root`: fingerprint of the root that must have made the log's roles. */
  verify(what: string, root?: string): Promise<VerifyReport>
  /** Writes the evidence for a key into a file; `file` is relative to the working folder. */
  evidence(what: string, file: string | undefined): Promise<EvidenceReport>
  /** Judges a file of evidence; `root`: the root's fingerprint, that of this machine's Kiln when left out. */
  judge(file: string, root: string | undefined): Promise<VerifyReport>
  repositories(): Promise<readonly KnownRepositoryView[]>
  /** Says anew all that is said of the repository; refused when a file is not usable now. */
  addRepository(
    wanted: WantedRepository,
  ): Promise<{ repository: KnownRepositoryView; replaced: boolean }>
  removeRepository(address: string): Promise<KnownRepositoryView>
  /** Asks the repository for its branches, as a build would. */
  checkRepository(
    address: string,
  ): Promise<{ address: string; branches: readonly { branch: string; commit: string }[] }>
  fsck(report: Report): Promise<FsckReport>
  /** Looks at a log once from outside; throws `not_running` when nothing answers. */
  monitor(request: MonitorRequest): Promise<MonitorReport>
  /** Encrypts the signing keys where they lie, under the passphrase of the settings; only while no signer runs. */
  encryptKeys(): Promise<{ encrypted: readonly string[] }>
  prune(dryRun: boolean): Promise<PruneReport>
  /** Needs Temporal, which knows what is being built. Throws `already_running` beside a backup or another one. */
  gc(apply: boolean): Promise<GcReport>
  /** Copies all that is needed to serve again, while Kiln runs or not; adds to a backup that is there. */
  backup(folder: string, passphrase: Passphrase, report: Report): Promise<BackupReport>
  /** Makes an empty home from a backup, checked whole before. */
  restore(folder: string, passphrase: Passphrase, report: Report): Promise<RestoreReport>
  /** Rebuilds the SQL fold; only while no server runs, which has the index open. */
  reindex(): Promise<{ entries: number; digest: string }>
}
