import type { Kysely } from 'kysely'
import type { IndexTables } from './index-schema.ts'

type Row = IndexTables['webhook_deliveries']
export type DeliveryRow = Omit<Row, 'body'>

/** What a delivery's id stands for: nothing yet, this delivery, or another one. */
export type Seen = 'new' | 'unfinished' | 'taken' | 'other-body'

/**
 * Deliveries of webhooks whose signature was right. Not of the ledger: after a loss a delivery that is
 * sent again is looked at again, and the repository says the same.
 */
export type WebhookMemory = {
  /** Remembers a delivery before anything is done; forgets those from before `keepFrom`. */
  take(delivery: Row, keepFrom: string): Promise<Seen>
  /** What came of it; a later word of the watch itself is not taken back. */
  announced(key: Pick<Row, 'forge' | 'delivery'>): Promise<void>
  settle(
    key: Pick<Row, 'forge' | 'delivery'>,
    end: { result: 'looked' | 'ignored' | 'refused'; message: string },
  ): Promise<void>
  deliveries(limit: number): Promise<DeliveryRow[]>
}

export function indexWebhooks(db: Kysely<IndexTables>): WebhookMemory {
  const at = ({ forge, delivery }: Pick<Row, 'forge' | 'delivery'>) =>
    db.updateTable('webhook_deliveries').where('forge', '=', forge).where('delivery', '=', delivery)
  return {
    async take(row, keepFrom) {
      await db.deleteFrom('webhook_deliveries').where('received_at', '<', keepFrom).execute()
      const { numInsertedOrUpdatedRows: inserted } = await db
        .insertInto('webhook_deliveries')
        .values(row)
        .onConflict((conflict) => conflict.columns(['forge', 'delivery']).doNothing())
        .executeTakeFirst()
      if (inserted === 1n) return 'new'
      const known = await db
        .selectFrom('webhook_deliveries')
        .select(['body', 'result'])
        .where('forge', '=', row.forge)
        .where('delivery', '=', row.delivery)
        .executeTakeFirst()
      if (known === undefined) return 'new'
      if (known.body !== row.body) return 'other-body'
      return known.result === 'received' ? 'unfinished' : 'taken'
    },
    async announced(key) {
      const looking = { result: 'looking', message: 'the watch looks' } as const
      await at(key).where('result', '=', 'received').set(looking).execute()
    },
    async settle(key, end) {
      await at(key).set(end).execute()
    },
    async deliveries(limit) {
      return db
        .selectFrom('webhook_deliveries')
        .select(['forge', 'delivery', 'event', 'repository', 'branch', 'commit', 'result'])
        .select(['message', 'received_at'])
        .orderBy('received_at', 'desc')
        .orderBy('delivery')
        .limit(limit)
        .execute()
    },
  }
}
