import { canonicalJson, digestOfJson } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import { ledgerActivities } from '../ledger/activities.ts'
import { promoteActivities } from '../promote/activities.ts'
import { deliveryActivities } from '../promote/delivery-activities.ts'
import { promotionPolicy, promotionPolicyDigest } from '../promote/policy.ts'
import { registryActivities } from '../registry/activities.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { lowDisk } from '../store/free-space.ts'
import { mendingShare } from './disk-guard.ts'
import type { Engine } from './engine.ts'
import { blobBytes, readDefinition } from './ledger-view.ts'
import { deliveryId } from './operation-ids.ts'
import type { ProcessContext } from './process.ts'
import type { OwnedLedger } from './server-ledger.ts'

type Input = { context: ProcessContext; owned: OwnedLedger; engine: Engine; version: string }

function now(): Date {
  return new Date()
}

/** Everything that runs on the queue `control`. */
export async function controlActivities({ context, owned, engine, version }: Input) {
  const { store, ledger } = owned
  const { home, minFree } = context.config
  await store.put(blobKey(promotionPolicyDigest), promotionPolicy.bytes)
  return {
    ...ledgerActivities({
      decide: ledger.decide,
      ledger: ledger.refresh,
      publishedBundle: ledger.publishedBundle,
      verify: ledger.verify,
      blob: (digest) => blobBytes(store, digest),
      origin: context.config.origin,
      version,
      policy: { name: promotionPolicy.name, digest: promotionPolicyDigest },
      now,
    }),
    ...promoteActivities({
      ledger: ledger.refresh,
      digestOfJson,
      definition: (digest) => readDefinition(store, digest),
      room: (need) => lowDisk([home], need === 'work' ? minFree : mendingShare(minFree)),
      request: engine.request,
      now,
    }),
    ...deliveryActivities({
      ledger: ledger.refresh,
      digestOfJson,
      templates: templatesIn(store),
      engine: { build: engine.build, deliver: (request) => deliver(engine, request, now()) },
    }),
    ...registryActivities({ store }),
  }
}

function templateKey(lock: Digest): string {
  return `templates/checked/${lock.slice('sha256:'.length)}`
}

function templatesIn(store: BlobStore) {
  return {
    put: (template: CheckedTemplate) =>
      store.put(templateKey(template.lock), canonicalJson(template)),
    async get(lock: Digest): Promise<CheckedTemplate | undefined> {
      const bytes = await store.get(templateKey(lock))
      return bytes === undefined
        ? undefined
        : (JSON.parse(new TextDecoder().decode(bytes)) as CheckedTemplate)
    },
  }
}

/** A commit that a watch found: the same delivery as when a person names it. */
async function deliver(
  engine: Engine,
  { repository, commit }: { repository: string; commit: string },
  at: Date,
): Promise<void> {
  const id = deliveryId(repository, commit, '')
  await engine.startDelivery({
    id,
    repository,
    revision: commit,
    useCache: true,
    principal: { name: 'kiln', kind: 'kiln' },
    requestedAt: at.toISOString(),
  })
  await engine.awaitDelivery(id)
}
