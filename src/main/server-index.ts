import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { HistoryEntry, LedgerFiles, Page, PageRequest } from '../api/ports.ts'
import { parseDigest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { ChangeKind } from '../domain/statement.ts'
import { openIndex } from '../ledger/index-database.ts'
import type { WebhookMemory } from '../ledger/index-webhooks.ts'
import type { ChangeRow } from '../ledger/index-queries.ts'
import type { LedgerReader } from '../ledger/ledger-reader.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Config } from './config.ts'

export type ServerIndex = {
  history: (name: EnvironmentName, page: PageRequest) => Promise<Page<HistoryEntry>>
  files: Omit<LedgerFiles, 'freshness' | 'log'>
  webhooks: WebhookMemory
  close: () => Promise<void>
}

/** The SQL fold as the API uses it; caught up before each question. */
export async function openServerIndex(input: {
  config: Config
  ledger: LedgerReader
  store: BlobStore
  logger: Logger
}): Promise<ServerIndex> {
  const { config, ledger, store, logger } = input
  const { index: place, paths } = config
  const index = await openIndex({ place, logger })
  await index.catchUp(ledger)
  return {
    async history(name, page) {
      await index.catchUp(ledger)
      const { items, next } = await index.history(name, page)
      return { items: items.map(entryOf), next }
    },
    files: {
      async checkpoint() {
        await ledger.refresh()
        const head = ledger.checkpoint()
        if (head === null) throw new KilnError('not_found', 'the log is empty')
        return head.note
      },
      tile: (path) => store.get(`tile/${path}`),
      trusted: (what) => readFile(join(paths.trust, what), 'utf8'),
      reindex: () => index.reindex(ledger),
    },
    webhooks: index,
    close: () => index.close(),
  }
}

function entryOf(row: ChangeRow): HistoryEntry {
  return {
    operation: row.change,
    kind: row.kind as ChangeKind,
    epoch: row.epoch,
    outcome: row.outcome,
    sequence: row.sequence,
    digest: parseDigest(row.digest),
    commit: row.commit ?? '',
    subject: row.subject ?? '',
    from: row.from_digest === null ? null : parseDigest(row.from_digest),
    instances: row.instances,
    requestedBy: row.requested_by,
    reason: row.reason,
    requestedAt: row.requested_at,
    endedAt: row.ended_at,
    failure:
      row.failure_code === null
        ? null
        : { code: row.failure_code, message: row.failure_message ?? '' },
  }
}
