import {
  demandRoot,
  startHistory,
  takeRoles,
  type RoleHistory,
} from '../../signing/role-history.ts'
import { leafName } from '../../signing/leaf.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import { verifyRole } from '../../signing/verify.ts'
import { KilnError } from '../domain/error.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { readLeafBundle, signerOf, validSigner, type LogEntry } from './entry.ts'

/** Which key may sign as what, as the log itself says it. */
export type LogRoles = {
  history: () => RoleHistory
  trust: () => TrustRoot
  /** Takes the lists of roles among entries, which come in log order. Throws `ledger_corrupt`. */
  take: (entries: readonly LogEntry[]) => Promise<void>
  /** Throws `verification_failed` when the root that the reader pinned did not make these roles. */
  demandRoot: () => void
}

/**
 * `trust` is what the reader knows beforehand: the log's key, and the root that signs its first list. From
 * that list on, the log is believed and nothing else.
 */
export function openLogRoles(deps: {
  store: BlobStore
  trust: TrustRoot
  /** Fingerprint of the root that must have made the roles. */
  root?: string
}): LogRoles {
  const { store, root } = deps
  let history = startHistory(deps.trust)

  async function takeOne(entry: LogEntry): Promise<void> {
    const { trust } = history
    if (entry.index <= history.at || signerOf(entry, trust)?.role !== 'root') return
    const { bundle, key } = await readLeafBundle({ store, trust }, leafName(entry.bytes))
    try {
      const by = validSigner(key, entry.index)
      const said = verifyRole(bundle, trust, by)
      if (said.kind !== 'roles') return
      history = takeRoles(history, { trust: said.trust, by, index: entry.index })
    } catch (error) {
      // It counts for nothing; whoever reads the entry says why.
      if (!(error instanceof KilnError) || error.code !== 'verification_failed') throw error
    }
  }

  return {
    history: () => history,
    trust: () => history.trust,
    async take(entries) {
      for (const entry of entries) await takeOne(entry)
    },
    demandRoot: () => {
      if (root !== undefined) demandRoot(history, root)
    },
  }
}
