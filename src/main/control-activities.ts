import { setTimeout as sleep } from 'node:timers/promises'
import { canonicalJson, digestOfJson } from '../../signing/canonical.ts'
import type { Digest } from '../domain/digest.ts'
import type { Operation } from '../domain/operation.ts'
import type { Principal } from '../domain/statement.ts'
import { causeOfRule } from '../domain/replacement-budget.ts'
import type { CheckedTemplate } from '../domain/template.ts'
import { ledgerActivities } from '../ledger/activities.ts'
import type { WebhookMemory } from '../ledger/index-webhooks.ts'
import { promoteActivities } from '../promote/activities.ts'
import { denialActivities } from '../promote/denial-activities.ts'
import { deliveryActivities } from '../promote/delivery-activities.ts'
import { promotionPolicy, promotionPolicyDigest } from '../promote/policy.ts'
import { rehearsalPlans } from '../promote/rehearsal.ts'
import { registryActivities } from '../registry/activities.ts'
import { announcementActivities } from '../source/announcement-activities.ts'
import { statusPlaceOf } from '../source/known-repository.ts'
import { writeCommitStatus } from '../source/status-writer.ts'
import { readSecretFile } from '../store/secret-file.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { lowDisk } from '../store/free-space.ts'
import { holdingStore } from '../store/held-store.ts'
import { mendingShare } from './disk-guard.ts'
import type { Engine } from './engine.ts'
import { keptArtifacts } from './kept-artifacts.ts'
import { blobBytes, readDefinition } from './ledger-view.ts'
import { deliveryId } from './operation-ids.ts'
import type { ProcessContext } from './process.ts'
import { readRepositories } from './repositories.ts'
import { signingKeysInLog } from './signing-keys.ts'
import type { OwnedLedger } from './server-ledger.ts'
import { temporalActivity } from './temporal.ts'

type Input = {
  context: ProcessContext
  owned: OwnedLedger
  engine: Engine
  webhooks: WebhookMemory
  version: string
}

function now(): Date {
  return new Date()
}

/** Everything that runs on the queue `control`. */
export async function controlActivities({ context, owned, engine, webhooks, version }: Input) {
  const { store, ledger } = owned
  const { home, minFree, origin } = context.config
  const held = holdingStore(store)
  const kept = keptArtifacts({ store: held, ledger, origin })
  await store.put(blobKey(promotionPolicyDigest), promotionPolicy.bytes)
  const records = ledgerActivities({
    decide: ledger.decide,
    ledger: ledger.refresh,
    publishedBundle: ledger.publishedBundle,
    verify: ledger.verify,
    blob: (digest) => blobBytes(store, digest),
    signingKeys: signingKeysInLog(owned),
    origin,
    version,
    policy: { name: promotionPolicy.name, digest: promotionPolicyDigest },
    now,
  })
  return {
    ...records,
    async recordRefusal(input: Parameters<typeof records.recordRefusal>[0]) {
      const { rule, message, request } = input
      // Somebody has to see it: Kiln stops mending by itself.
      if (causeOfRule(rule) !== null)
        context.logger.error({ alarm: rule, environment: request.environment }, message)
      await records.recordRefusal(input)
    },
    ...promoteActivities({
      ledger: ledger.refresh,
      gone: kept.gone,
      digestOfJson,
      definition: (digest) => readDefinition(store, digest),
      room: (need) => lowDisk([home], need === 'work' ? minFree : mendingShare(minFree)),
      request: engine.request,
      now,
    }),
    ...deliveryActivities({
      ledger: ledger.refresh,
      isGone: kept.isGone,
      bundlesOf: kept.bundlesOf,
      digestOfJson,
      templates: templatesIn(store),
      engine: { build: engine.build, deliver: (request) => deliver(engine, request, now()) },
    }),
    ...rehearsalPlans({ ledger: ledger.refresh }),
    ...denialActivities({
      ledger: ledger.refresh,
      request: engine.request,
      cancel: engine.cancelChange,
      ended: engine.changeEnded,
    }),
    ...registryActivities({ store: held }),
    ...announcements(context, webhooks),
  }
}

function announcements({ config, logger }: ProcessContext, webhooks: WebhookMemory) {
  const { publicAddress } = config
  return announcementActivities({
    async settle(delivery, end) {
      await webhooks.settle(delivery, end)
      if (end.result === 'refused')
        logger.warn({ ...delivery, reason: end.message }, 'what a webhook announced was refused')
    },
    statusPlace: async (repository) =>
      statusPlaceOf(await readRepositories(config.home), repository),
    write: (place, status) =>
      writeCommitStatus(
        {
          readSecret: readSecretFile,
          sleep: (ms, signal) => sleep(ms, undefined, { signal }),
          now,
          answerMs: 15_000,
          totalMs: 90_000,
        },
        { place, status, signal: temporalActivity().signal },
      ),
    addressOf: (operation) =>
      publicAddress === undefined
        ? undefined
        : `${publicAddress}/api/v1/operations/${encodeURIComponent(operation)}`,
    log: (line) => logger.warn(line, 'no commit status was written'),
  })
}

function templateKey(lock: Digest): string {
  return `templates/checked/${lock.slice('sha256:'.length)}`
}

function templatesIn(store: BlobStore) {
  return {
    /** Without what it stands on, which the lock names: what was kept before said nothing of it. */
    put: ({ base: _base, ...template }: CheckedTemplate) =>
      store.put(templateKey(template.lock), canonicalJson(template)),
    async get(lock: Digest): Promise<CheckedTemplate | undefined> {
      const bytes = await store.get(templateKey(lock))
      return bytes === undefined
        ? undefined
        : (JSON.parse(new TextDecoder().decode(bytes)) as CheckedTemplate)
    },
  }
}

type CommitDelivery = {
  repository: string
  commit: string
  part?: { id: string; path: string; useCache: boolean; principal: Principal }
}

/** A commit that a watch found, or one app of it: the same delivery as when a person names it. */
async function deliver(
  engine: Engine,
  { repository, commit, part }: CommitDelivery,
  at: Date,
): Promise<Operation | null> {
  const whole = {
    id: deliveryId(repository, commit, ''),
    useCache: true,
    principal: { name: 'kiln', kind: 'kiln' } as const,
  }
  const input = { ...(part ?? whole), repository, revision: commit, requestedAt: at.toISOString() }
  await engine.startDelivery(input)
  await engine.awaitDelivery(input.id)
  return engine.progress(input.id)
}
