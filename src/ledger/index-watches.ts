import type { Kysely } from 'kysely'
import type { IndexTables } from './index-schema.ts'

/** A polled repository; `heads` are the commits seen last, by branch. */
export type WatchRow = {
  id: string
  repository: string
  branches: readonly string[]
  heads: Readonly<Record<string, string>>
}

/** What is not of the ledger: after a loss, watches are set up again and a commit may be announced twice. */
export type IndexWatches = {
  saveWatch(watch: WatchRow): Promise<void>
  removeWatch(id: string): Promise<void>
  watches(): Promise<WatchRow[]>
}

export function indexWatches(db: Kysely<IndexTables>): IndexWatches {
  return {
    async saveWatch({ id, repository, branches, heads }) {
      const row = {
        repository,
        branches: JSON.stringify(branches),
        heads: JSON.stringify(heads),
      }
      await db
        .insertInto('watches')
        .values({ id, ...row })
        .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
        .execute()
    },
    async removeWatch(id) {
      await db.deleteFrom('watches').where('id', '=', id).execute()
    },
    async watches() {
      const rows = await db.selectFrom('watches').selectAll().orderBy('id').execute()
      return rows.map((row) => ({
        ...row,
        branches: JSON.parse(row.branches) as string[],
        heads: JSON.parse(row.heads) as Record<string, string>,
      }))
    },
  }
}
