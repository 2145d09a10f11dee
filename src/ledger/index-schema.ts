import { sql, type Kysely } from 'kysely'
import type { Migration } from 'kysely/migration'

/** The tables of the fold, and what their rows are told apart by; `reindex` empties exactly these. */
export const foldOrder = [
  ['progress', [{ name: 'id', text: false }]],
  ['facts', [{ name: 'index', text: false }]],
  ['artifacts', [{ name: 'digest', text: true }]],
  ['denials', [{ name: 'digest', text: true }]],
  ['environments', [{ name: 'environment', text: true }]],
  [
    'changes',
    [
      { name: 'environment', text: true },
      { name: 'epoch', text: false },
    ],
  ],
  [
    'keys',
    [
      { name: 'environment', text: true },
      { name: 'sequence', text: false },
    ],
  ],
  ['refusals', [{ name: 'index', text: false }]],
] as const satisfies readonly [keyof IndexTables, readonly { name: string; text: boolean }[]][]

export type IndexTables = {
  /** One row: how many log entries are folded in, and the hash (hex) of the tree that they were. */
  progress: { id: number; size: number; root: string | null }
  /** Every statement of Kiln's; `body` is canonical JSON, `void` says that the log's order made it so. */
  facts: {
    index: number
    leaf: string
    kind: string
    artifact: string | null
    environment: string | null
    time: string
    void: boolean
    body: string
  }
  artifacts: {
    digest: string
    index: number
    app: string
    build: string
    repository: string
    commit: string
    subject: string
    committed_at: number
    sealed_at: string
    template: string
    template_lock: string
  }
  denials: { digest: string; index: number; reason: string; requested_by: string; time: string }
  /** An environment as its last valid fact left it; `active` is a digest. */
  environments: {
    environment: string
    epoch: number
    sequence: number
    active: string | null
    active_sequence: number | null
    instances: number
  }
  changes: {
    environment: string
    epoch: number
    index: number
    change: string
    kind: string
    digest: string
    from_digest: string | null
    sequence: number | null
    instances: number
    requested_by: string
    reason: string
    requested_at: string
    outcome: 'open' | 'active' | 'failed'
    ended_at: string | null
    failure_code: string | null
    failure_message: string | null
  }
  keys: {
    environment: string
    sequence: number
    epoch: number
    index: number
    leaf: string
    digest: string
    definition: string
    state: 'issued' | 'active' | 'failed' | 'superseded'
    issued_at: string
  }
  refusals: {
    index: number
    environment: string | null
    change: string
    rule: string
    message: string
    requested_by: string
    time: string
  }
  /** Not of the ledger: deliveries of webhooks; `body` is the hash of its bytes. */
  webhook_deliveries: {
    forge: string
    delivery: string
    event: string
    body: string
    repository: string | null
    branch: string | null
    commit: string | null
    result: string
    message: string
    received_at: string
  }
}

/** Tables are made by their column lists, so that a reader sees them as in `IndexTables`. */
const first: readonly [name: string, columns: string][] = [
  ['progress', 'id integer primary key, size integer not null'],
  [
    'facts',
    `index integer primary key, leaf text not null unique, kind text not null, artifact text,
     environment text, time text not null, void boolean not null, body text not null`,
  ],
  [
    'artifacts',
    `digest text primary key, index integer not null, app text not null, build text not null,
     repository text not null, commit text not null, subject text not null,
     committed_at integer not null, sealed_at text not null, template text not null,
     template_lock text not null`,
  ],
  [
    'denials',
    `digest text primary key, index integer not null, reason text not null,
     requested_by text not null, time text not null`,
  ],
  [
    'environments',
    `environment text primary key, epoch integer not null, sequence integer not null, active text,
     active_sequence integer, instances integer not null`,
  ],
  [
    'changes',
    `environment text not null, epoch integer not null, index integer not null,
     change text not null, kind text not null, digest text not null, from_digest text,
     sequence integer, instances integer not null, requested_by text not null,
     reason text not null, requested_at text not null, outcome text not null, ended_at text,
     failure_code text, failure_message text, primary key (environment, epoch)`,
  ],
  [
    'keys',
    `environment text not null, sequence integer not null, epoch integer not null,
     index integer not null, leaf text not null, digest text not null, definition text not null,
     state text not null, issued_at text not null, primary key (environment, sequence)`,
  ],
  [
    'refusals',
    `index integer primary key, environment text, change text not null, rule text not null,
     message text not null, requested_by text not null, time text not null`,
  ],
  [
    'watches',
    'id text primary key, repository text not null, branches text not null, heads text not null',
  ],
]

const indexes = [
  'create index facts_environment on facts (environment, index)',
  'create index facts_artifact on facts (artifact)',
  'create index artifacts_index on artifacts (index)',
  'create index artifacts_app on artifacts (app, index)',
  'create index artifacts_prefix on artifacts (digest text_pattern_ops)',
]

export const migrations: Readonly<Record<string, Migration>> = {
  '0001-fold-and-watches': {
    async up(db: Kysely<unknown>) {
      for (const [name, columns] of first) {
        await sql.raw(`create table ${name} (${columns})`).execute(db)
      }
      for (const statement of indexes) await sql.raw(statement).execute(db)
    },
  },
  '0002-webhook-deliveries': {
    async up(db: Kysely<unknown>) {
      await sql`create table webhook_deliveries (
        forge text not null, delivery text not null, event text not null, body text not null,
        repository text, branch text, commit text, result text not null, message text not null,
        received_at text not null, primary key (forge, delivery)
      )`.execute(db)
      await sql`create index webhook_deliveries_time on webhook_deliveries (received_at)`.execute(
        db,
      )
    },
  },
  // Nothing ever stood in it: which repositories are watched is in a file, which a lost index leaves.
  '0003-no-watches': {
    async up(db: Kysely<unknown>) {
      await sql`drop table watches`.execute(db)
    },
  },
  // Who does not say of which log its rows are is made anew once.
  '0004-root-of-the-log': {
    async up(db: Kysely<unknown>) {
      await sql`alter table progress add column root text`.execute(db)
    },
  },
}
