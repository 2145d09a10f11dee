import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { createPgConfig } from '@electric-sql/pglite/node-postgres'
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import { Migrator } from 'kysely/migration'
import { Pool } from 'pg'
import type { Logger } from 'pino'
import { canonicalJson } from '../../signing/canonical.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import { lockFolder } from '../store/folder-lock.ts'
import { foldFact } from './index-fold.ts'
import { indexQueries, type IndexQueries } from './index-queries.ts'
import { foldTables, migrations, type IndexTables } from './index-schema.ts'
import { indexWatches, type IndexWatches } from './index-watches.ts'
import { indexWebhooks, type WebhookMemory } from './index-webhooks.ts'
import type { LedgerReader } from './ledger-reader.ts'

/** The part of the ledger that the index folds. */
export type IndexSource = Pick<LedgerReader, 'refresh' | 'facts'>

/** The fold of the ledger in SQL, for queries; everything in it but the watches can be made anew. */
export type LedgerIndex = IndexQueries &
  IndexWatches &
  WebhookMemory & {
    /** Folds in what the log has by now; gives the number of entries that are in. */
    catchUp(source: IndexSource): Promise<number>
    /** Empties the fold's tables and fills them from the log; `digest` is of the dump. */
    reindex(source: IndexSource): Promise<{ entries: number; digest: string }>
    /** Every row of the fold in a fixed order, one canonical JSON line each. */
    dump(): AsyncGenerator<string>
    close(): Promise<void>
  }

/**
 * Opens the index in a folder, which has one owner: PGlite itself lets a second process in and then
 * loses rows. Throws `already_running`.
 */
export async function openIndex({
  dir,
  logger,
}: {
  dir: string
  logger: Logger
}): Promise<LedgerIndex> {
  const lock = await lockFolder(dir)
  const dataDir = await ensureDatabase(dir)
  const pglite = await PGlite.create({ dataDir, postgresqlconf: modest })
  const limits = { max: 1, connectionTimeoutMillis: 10_000 }
  const pool = new Pool(Object.assign(createPgConfig(pglite), limits))
  pool.on('error', (error) => logger.error({ err: error }, 'the index lost its connection'))
  const db = new Kysely<IndexTables>({ dialect: new PostgresDialect({ pool }) })
  const close = async (): Promise<void> => {
    await db.destroy()
    await pglite.close()
    lock.release()
  }
  try {
    await migrate(db)
  } catch (error) {
    await close()
    throw new KilnError('store_unavailable', 'the index cannot be opened', {
      cause: error,
      place: dir,
      fix: `remove the folder ${dir}: the index is made anew from the ledger`,
    })
  }
  return { ...indexOf(db), close }
}

/** One connection, small queries. */
const modest = ['shared_buffers = 16MB', 'work_mem = 1MB', 'maintenance_work_mem = 8MB']

/** Made aside and renamed: a start that was killed half-way leaves nothing that looks like a database. */
async function ensureDatabase(dir: string): Promise<string> {
  const dataDir = join(dir, 'pg')
  if (existsSync(dataDir)) return dataDir
  const half = join(dir, 'pg.new')
  await rm(half, { recursive: true, force: true })
  const script = fileURLToPath(new URL('./index-init.ts', import.meta.url))
  await promisify(execFile)(process.execPath, ['--liftoff-only', script, half], { env: {} })
  await rename(half, dataDir)
  return dataDir
}

async function migrate(db: Kysely<IndexTables>): Promise<void> {
  const provider = { getMigrations: async () => ({ ...migrations }) }
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  if (error !== undefined) throw error
}

function indexOf(db: Kysely<IndexTables>): Omit<LedgerIndex, 'close'> {
  return {
    ...indexQueries(db),
    ...indexWatches(db),
    ...indexWebhooks(db),
    async catchUp(source) {
      const ledger = await source.refresh()
      if ((await foldedSize(db)) >= ledger.size) return ledger.size
      await db.transaction().execute((transaction) => foldOn(transaction, source, ledger))
      return ledger.size
    },
    async reindex(source) {
      const ledger = await source.refresh()
      await db.transaction().execute(async (transaction) => {
        for (const table of foldTables) await transaction.deleteFrom(table).execute()
        await foldOn(transaction, source, ledger)
      })
      const hash = createHash('sha256')
      for await (const line of dump(db)) hash.update(line)
      return { entries: ledger.size, digest: `sha256:${hash.digest('hex')}` }
    },
    dump: () => dump(db),
  }
}

async function foldedSize(db: Kysely<IndexTables>): Promise<number> {
  const row = await db.selectFrom('progress').select('size').executeTakeFirst()
  return row?.size ?? 0
}

/** All or nothing, like the transaction it runs in; what another caller folded since is left out. */
async function foldOn(
  db: Transaction<IndexTables>,
  source: IndexSource,
  ledger: Ledger,
): Promise<void> {
  const from = await foldedSize(db)
  if (from >= ledger.size) return
  for (const fact of source.facts(from)) {
    if (fact.index < ledger.size) await foldFact(db, fact, ledger.void.has(fact.leaf))
  }
  const { size } = ledger
  await db
    .insertInto('progress')
    .values({ id: 1, size })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ size }))
    .execute()
}

const pageSize = 500

async function* dump(db: Kysely<IndexTables>): AsyncGenerator<string> {
  for (const table of foldTables) {
    for (let offset = 0; ; offset += pageSize) {
      const { rows } = await sql<Record<string, unknown>>`
        select * from ${sql.table(table)} order by 1, 2 limit ${pageSize} offset ${offset}
      `.execute(db)
      for (const row of rows) yield `${table} ${Buffer.from(canonicalJson(row)).toString()}\n`
      if (rows.length < pageSize) break
    }
  }
}
