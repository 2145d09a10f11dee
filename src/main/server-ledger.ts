import { signerClient, type SignerClient } from '../../signing/signer-client.ts'
import type { LeafContent } from '../../signing/leaf.ts'
import { readTrust } from '../../signing/trust-files.ts'
import { derOf } from '../../signing/trust.ts'
import type { LedgerFiles, LogEntryRequest } from '../api/ports.ts'
import { openLedger, type LedgerWriter } from '../ledger/ledger-writer.ts'
import { lockFolder } from '../store/folder-lock.ts'
import type { AgingStore } from '../store/blob-store.ts'
import { openObjectStore } from './object-store.ts'
import { readLogKeys } from './log-keys.ts'
import { pinnedRoot } from './pinned-root.ts'
import type { ProcessContext } from './process.ts'
import { sayFresh } from './say-fresh.ts'
import { vouching } from './signing-keys.ts'

export type OwnedLedger = {
  store: AgingStore
  ledger: LedgerWriter
  signer: SignerClient
  /** The newest signed word that the log is so now. */
  freshness: () => Promise<string>
  /** Logs what somebody else signed. */
  log: LedgerFiles['log']
  close: () => void
}

/**
 * The store with its head, which this process alone moves, and the ledger on it. The first entry of a
 * new log is the list of roles. A store that does not keep its promises is refused, by trying.
 */
export async function openOwnedLedger({
  config,
  paths,
  logger,
  crashPoint,
}: ProcessContext): Promise<OwnedLedger> {
  const trust = await readTrust(paths.trust)
  const { store, head, probe } = openObjectStore(config.store)
  const lock = await lockFolder(config.store.kind === 'folder' ? config.store.root : paths.spool)
  await probe()
  const signer = signerClient({
    socket: paths.signerSocket,
    origin: trust.origin,
    timeoutMs: 10_000,
  })
  const root = await pinnedRoot(paths, trust, config.root)
  const ledger = openLedger({ store, head, signer, trust, root, logger, crashPoint })
  await ledger.complete()
  // Ends a rotation that was interrupted, too: the signer hears what the log says of its keys.
  await ledger.changeRoles(vouching(ledger))
  const fresh = sayFresh({
    ledger,
    signer,
    everyMs: Math.min(60_000, config.fresh.limitMs / 4),
    now: () => new Date(),
    logger,
  })
  return {
    store,
    ledger,
    signer,
    freshness: fresh.newest,
    log: async (request) =>
      ledger.logForeign(contentOf(request), await readLogKeys(config.logKeys)),
    close() {
      fresh.close()
      lock.release()
    },
  }
}

/** Rekor v2's request as what a leaf is made of. */
export function contentOf({ hashedRekordRequestV002 }: LogEntryRequest): LeafContent {
  const { digest, signature } = hashedRekordRequestV002
  return {
    digest: derOf(digest),
    signature: derOf(signature.content),
    publicKey: derOf(signature.verifier.publicKey.rawBytes),
  }
}
