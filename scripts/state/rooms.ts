import { pino } from 'pino'
import { createHash } from 'node:crypto'
import { digestOfJson } from '../../signing/canonical.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { ledgerActivities } from '../../src/ledger/activities.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { blobBytes, readDefinition } from '../../src/main/ledger-view.ts'
import { pathsOf } from '../../src/main/paths.ts'
import { promoteActivities } from '../../src/promote/activities.ts'
import { promotionPolicy, promotionPolicyDigest } from '../../src/promote/policy.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { folderSigner, origin } from '../../test/helpers/ledger-signer.ts'

export type Rooms = Awaited<ReturnType<typeof openRooms>>

export function hex(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** A minute later each time: what is recorded does not depend on when. */
function clock(): () => Date {
  let minutes = 0
  return () => {
    minutes += 1
    return new Date(Date.UTC(2026, 0, 1) + minutes * 60_000)
  }
}

/** A new ledger in a home, and what decides and records in it, as the server joins them. */
export async function openRooms({ home, release }: { home: string; release: string }) {
  const paths = pathsOf(home)
  const now = clock()
  const signer = await folderSigner(paths.keys)
  const { trust } = signer
  await writeTrust(paths.trust, trust)
  const store = openFolderStore({ root: paths.store })
  const head = openFolderHead({ root: paths.store })
  const ledger = openLedger({ store, head, signer, trust, logger: pino({ level: 'silent' }) })
  await ledger.decide({
    id: `roles ${origin}`,
    signable: { kind: 'roles', time: now().toISOString(), trust },
  })
  const records = ledgerActivities({
    decide: ledger.decide,
    ledger: ledger.refresh,
    publishedBundle: ledger.publishedBundle,
    verify: ledger.verify,
    blob: (digest) => blobBytes(store, digest),
    signingKeys: { list: async () => [], follow: async () => undefined },
    origin,
    version: release,
    policy: { name: promotionPolicy.name, digest: promotionPolicyDigest },
    now,
  })
  const { decideChange } = promoteActivities({
    ledger: ledger.refresh,
    digestOfJson,
    definition: (digest) => readDefinition(store, digest),
    room: async () => undefined,
    gone: async () => null,
    request: async () => undefined,
    now,
  })
  const blob = async (bytes: Uint8Array): Promise<Digest> => {
    async function* content() {
      yield bytes
    }
    return (await store.putBlob(content())).digest
  }
  await blob(promotionPolicy.bytes)
  return { paths, release, now, store, ledger, records, decideChange, blob }
}
