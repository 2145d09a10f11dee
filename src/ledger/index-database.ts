import { createHash } from 'node:crypto'
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import { Migrator } from 'kysely/migration'
import type { Logger } from 'pino'
import { canonicalJson } from '../../signing/canonical.ts'
import { KilnError } from '../domain/error.ts'
import type { Ledger } from '../domain/ledger.ts'
import { foldFact } from './index-fold.ts'
import { openPool, type IndexPlace } from './index-place.ts'
import { indexQueries, type IndexQueries } from './index-queries.ts'
import { foldOrder, migrations, type IndexTables } from './index-schema.ts'
import { indexWebhooks, type WebhookMemory } from './index-webhooks.ts'
import type { LedgerReader } from './ledger-reader.ts'

/** The part of the ledger that the index folds. */
export type IndexSource = Pick<LedgerReader, 'refresh' | 'facts' | 'rootAt'>

/** The fold of the ledger in SQL, for queries; everything in it but webhooks' deliveries can be made anew. */
export type LedgerIndex = IndexQueries &
  WebhookMemory & {
    /**
     * Folds in what the log has by now; gives the number of entries that are in. An index of another log,
     * or of one that was put back to an earlier day since, is made anew.
     */
    catchUp(source: IndexSource): Promise<number>
    /** Empties the fold's tables and fills them from the log; `digest` is of the dump. */
    reindex(source: IndexSource): Promise<{ entries: number; digest: string }>
    /** Every row of the fold in a fixed order, one canonical JSON line each. */
    dump(): AsyncGenerator<string>
    close(): Promise<void>
  }

/**
 * Opens the index and brings its tables forward. Throws `already_running` (a folder has one owner),
 * `prerequisite_missing` and `store_unavailable`.
 */
export async function openIndex({
  place,
  logger,
}: {
  place: IndexPlace
  logger: Logger
}): Promise<LedgerIndex> {
  const { pool, close, fix } = await openPool(place, logger)
  const db = new Kysely<IndexTables>({ dialect: new PostgresDialect({ pool }) })
  try {
    await migrate(db)
  } catch (error) {
    await close()
    if (error instanceof KilnError) throw error
    throw new KilnError('store_unavailable', 'the index cannot be opened', {
      cause: error,
      place: place.kind === 'pglite' ? place.dir : place.address,
      fix,
    })
  }
  return { ...indexOf(db, logger), close }
}

async function migrate(db: Kysely<IndexTables>): Promise<void> {
  const provider = { getMigrations: async () => ({ ...migrations }) }
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  if (error !== undefined) throw error
}

function indexOf(db: Kysely<IndexTables>, logger: Logger): Omit<LedgerIndex, 'close'> {
  return {
    ...indexQueries(db),
    ...indexWebhooks(db),
    async catchUp(source) {
      const ledger = await source.refresh()
      const folded = await foldedPart(db)
      if (folded.size >= ledger.size && isOf(source, folded)) return ledger.size
      return folding(db, async (transaction) => {
        // Another server may have folded more than was read above; the log has at least that by now.
        const now = await source.refresh()
        const before = await foldedPart(transaction)
        if (!isOf(source, before)) {
          logger.warn({ entries: before.size }, 'the index was not of this log: made anew')
          await empty(transaction)
        }
        await foldOn(transaction, source, now)
        return now.size
      })
    },
    reindex(source) {
      return folding(db, async (transaction) => {
        // Read under the lock: what others folded before is not longer than what is read now.
        const ledger = await source.refresh()
        await empty(transaction)
        await foldOn(transaction, source, ledger)
        const hash = createHash('sha256')
        for await (const line of dump(transaction)) hash.update(line)
        return { entries: ledger.size, digest: `sha256:${hash.digest('hex')}` }
      })
    },
    dump: () => dump(db),
  }
}

/** One at a time, whoever asks and from which server: who waited sees what the one before it folded. */
function folding<T>(
  db: Kysely<IndexTables>,
  work: (transaction: Transaction<IndexTables>) => Promise<T>,
): Promise<T> {
  return db.transaction().execute(async (transaction) => {
    await sql`lock table progress in exclusive mode`.execute(transaction)
    return work(transaction)
  })
}

type Folded = { size: number; root: string | null }

async function foldedPart(db: Kysely<IndexTables>): Promise<Folded> {
  const row = await db.selectFrom('progress').select(['size', 'root']).executeTakeFirst()
  return row ?? { size: 0, root: null }
}

/** Whether the log begins with what is folded; one that is shorter does not. */
function isOf(source: IndexSource, { size, root }: Folded): boolean {
  return size === 0 || (root !== null && source.rootAt(size) === root)
}

async function empty(db: Transaction<IndexTables>): Promise<void> {
  for (const [table] of foldOrder) await db.deleteFrom(table).execute()
}

/** All or nothing, like the transaction it runs in; what another caller folded since is left out. */
async function foldOn(
  db: Transaction<IndexTables>,
  source: IndexSource,
  ledger: Ledger,
): Promise<void> {
  const { size: from } = await foldedPart(db)
  if (from >= ledger.size) return
  for (const fact of source.facts(from)) {
    if (fact.index < ledger.size) await foldFact(db, fact, ledger.void.has(fact.leaf))
  }
  const part = { size: ledger.size, root: source.rootAt(ledger.size) }
  await db
    .insertInto('progress')
    .values({ id: 1, ...part })
    .onConflict((conflict) => conflict.column('id').doUpdateSet(part))
    .execute()
}

const pageSize = 500

/** Rows in an order that no database's collation has a say in. */
async function* dump(db: Kysely<IndexTables>): AsyncGenerator<string> {
  for (const [table, keys] of foldOrder) {
    const order = sql.join(keys.map(({ name, text }) => ordered(name, text)))
    for (let offset = 0; ; offset += pageSize) {
      const { rows } = await sql<Record<string, unknown>>`
        select * from ${sql.table(table)} order by ${order} limit ${pageSize} offset ${offset}
      `.execute(db)
      for (const row of rows) yield `${table} ${Buffer.from(canonicalJson(row)).toString()}\n`
      if (rows.length < pageSize) break
    }
  }
}

function ordered(name: string, text: boolean) {
  return text ? sql`${sql.ref(name)} collate "C"` : sql.ref(name)
}
