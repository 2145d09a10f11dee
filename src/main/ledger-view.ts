import type { Logger } from 'pino'
import { z } from 'zod'
import { readTrust } from '../../signing/trust-files.ts'
import { digestOf } from '../../signing/canonical.ts'
import type { Definition } from '../domain/definition.ts'
import { isDigest, type Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import { openLedgerReader, type LedgerReader } from '../ledger/ledger-reader.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { readObjectStore, type StorePlace } from './object-store.ts'
import type { Paths } from './paths.ts'
import { pinnedRoot } from './pinned-root.ts'

/** The store and the verified ledger, for processes that do not own the head. */
export type LedgerView = { store: BlobStore; reader: LedgerReader }

export async function openLedgerView(
  paths: Paths,
  logger: Logger,
  {
    place,
    seen,
    root: named,
  }: { place?: StorePlace; seen?: string; root?: string | undefined } = {},
): Promise<LedgerView> {
  const trust = await readTrust(paths.trust)
  const at = place ?? { kind: 'folder', root: paths.store }
  const { store, head } = readObjectStore(at, { readOnly: false })
  const known = seen === undefined ? {} : { seen }
  const root = await pinnedRoot(paths, trust, named)
  return { store, reader: openLedgerReader({ store, head, trust, root, logger, ...known }) }
}

/** A blob's bytes, checked against its digest. Throws `not_found`, `digest_mismatch`. */
export async function blobBytes(store: BlobStore, digest: Digest): Promise<Uint8Array> {
  const bytes = await store.get(blobKey(digest))
  if (bytes === undefined) throw new KilnError('not_found', `the store has no ${digest}`)
  if (digestOf(bytes) !== digest) {
    throw new KilnError('digest_mismatch', `the store holds other bytes under ${digest}`, {
      fix: 'kiln fsck',
    })
  }
  return bytes
}

const manifestForm = z.object({
  config: z.object({
    digest: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
  }),
})

/** The artifact's image id in an engine: the digest of the config that its manifest names. */
export async function imageIdOf(store: BlobStore, artifact: Digest): Promise<Digest> {
  const bytes = await blobBytes(store, artifact)
  return manifestForm.parse(JSON.parse(new TextDecoder().decode(bytes))).config.digest
}

/** A definition's content; it was checked when its commit was read, and its digest is bound by the key. */
export async function readDefinition(store: BlobStore, digest: Digest): Promise<Definition> {
  const definition = JSON.parse(
    new TextDecoder().decode(await blobBytes(store, digest)),
  ) as Definition
  if (definition.version !== 1) {
    throw new KilnError(
      'invalid_input',
      `definition ${digest} has version ${String(definition.version)}, not 1`,
    )
  }
  return definition
}
