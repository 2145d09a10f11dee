import type { Logger } from 'pino'
import { signerClient } from '../../signing/signer-client.ts'
import type { LeafContent } from '../../signing/leaf.ts'
import { readTrust } from '../../signing/trust-files.ts'
import { derOf, type TrustRoot } from '../../signing/trust.ts'
import type { LedgerFiles, LogEntryRequest } from '../api/ports.ts'
import { openLedger, type LedgerWriter } from '../ledger/ledger-writer.ts'
import { lockFolder } from '../store/folder-lock.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { openObjectStore } from './object-store.ts'
import { readLogKeys } from './log-keys.ts'
import type { ProcessContext } from './process.ts'
import { sayFresh } from './say-fresh.ts'

export type OwnedLedger = {
  store: BlobStore
  ledger: LedgerWriter
  trust: TrustRoot
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
  const ledger = openLedger({ store, head, signer, trust, logger, crashPoint })
  await ledger.complete()
  await ledger.refresh()
  await recordRoles(ledger, trust, logger)
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
    trust,
    freshness: fresh.newest,
    log: async (request) =>
      ledger.logForeign(contentOf(request), await readLogKeys(config.logKeys)),
    close() {
      fresh.close()
      lock.release()
    },
  }
}

async function recordRoles(ledger: LedgerWriter, trust: TrustRoot, logger: Logger): Promise<void> {
  if (ledger.ledger().size > 0) return
  const { index } = await ledger.decide({
    id: `roles ${trust.origin}`,
    signable: { kind: 'roles', time: new Date().toISOString(), trust },
  })
  logger.info({ index, origin: trust.origin }, 'a new log begins with the list of roles')
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
