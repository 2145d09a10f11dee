import { TestWorkflowEnvironment } from '@temporalio/testing'
import type { Client } from '@temporalio/client'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { pino } from 'pino'
import { digestOfJson } from '../../signing/canonical.ts'
import type { SignerClient } from '../../signing/signer-client.ts'
import type { TrustRoot } from '../../signing/trust.ts'
import type { DeniedSubject } from '../../src/domain/denial.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { environmentOf, type EnvironmentState } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'
import { changeId, type ChangeRequest, type Wish } from '../../src/domain/request.ts'
import type { CheckedTemplate } from '../../src/domain/template.ts'
import { ledgerActivities } from '../../src/ledger/activities.ts'
import { openLedger, type LedgerWriter, type SignerPort } from '../../src/ledger/ledger-writer.ts'
import { workflowBundle } from '../../src/main/workflow-bundle.ts'
import { createEngine, type Engine } from '../../src/main/engine.ts'
import { keptArtifacts } from '../../src/main/kept-artifacts.ts'
import { deliveryId } from '../../src/main/operation-ids.ts'
import { signingKeysInLog } from '../../src/main/signing-keys.ts'
import { createWorker } from '../../src/main/temporal.ts'
import { promoteActivities } from '../../src/promote/activities.ts'
import { denialActivities } from '../../src/promote/denial-activities.ts'
import { deliveryActivities } from '../../src/promote/delivery-activities.ts'
import { rehearsalPlans } from '../../src/promote/rehearsal.ts'
import { registryActivities } from '../../src/registry/activities.ts'
import { announcementActivities } from '../../src/source/announcement-activities.ts'
import type { CommitStatus } from '../../src/source/commit-status.ts'
import type { StatusPlace } from '../../src/source/known-repository.ts'
import type { StatusOutcome } from '../../src/source/status-writer.ts'
import type { AgingStore } from '../../src/store/blob-store.ts'
import { holdingStore } from '../../src/store/held-store.ts'
import { Stage } from '../helpers/activity-faults.ts'
import { findTool } from '../helpers/find-tool.ts'
import { memorySigner, origin } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { silentRuntime } from '../helpers/temporal-runtime.ts'
import { commitNamed, FakeBuilder } from './fake-builder.ts'
import { FakeHost } from './fake-host.ts'

const logger = pino({ level: 'silent' })
const bundles = join(import.meta.dirname, '../../.cache')
export const person = { name: 'tester', kind: 'token' } as const

/** A Temporal server for tests, with workers taken on and off. */
export type TestTemporal = { address: string; client: Client; close: () => Promise<void> }

/** The server is small and short-lived: several schedulers and early collections would cost it a fifth more CPU. */
const goSettings = { GOMAXPROCS: '1', GOGC: '800' }

/** Sets the variables, for who is started now, and gives what sets them back. */
function lend(settings: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(settings).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, settings)
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

/** `continueAsNewAfter`: after how many events the server suggests a new run; its own limit otherwise. */
export async function testTemporal(
  options: { continueAsNewAfter?: number } = {},
): Promise<TestTemporal> {
  silentRuntime()
  const { continueAsNewAfter } = options
  const giveBack = lend(goSettings)
  const env = await TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: findTool('temporal') },
      log: { format: 'pretty', level: 'error' },
      extraArgs:
        continueAsNewAfter === undefined
          ? []
          : [
              '--dynamic-config-value',
              `limit.historyCount.suggestContinueAsNew=${continueAsNewAfter}`,
            ],
    },
  }).finally(giveBack)
  return { address: env.address, client: env.client, close: () => env.teardown() }
}

export type KilnInMemory = {
  /** Names of its own, so that the Kilns of one Temporal server do not meet. */
  dev: EnvironmentName
  test: EnvironmentName
  prod: EnvironmentName
  repository: string
  engine: Engine
  client: Client
  ledger: LedgerWriter
  store: AgingStore
  host: FakeHost
  builder: FakeBuilder
  stage: Stage
  forge: FakeForge
  /** Asks an environment for something, and gives the operation's id. */
  ask: (environment: EnvironmentName, wish: Wish, tail?: string) => Promise<string>
  /** Denies an artifact, or something else, and follows it to its end. */
  revoke: (what: Digest | DeniedSubject) => Promise<Operation>
  /** Follows an operation of an environment to its end. */
  ended: (environment: EnvironmentName, id: string) => Promise<Operation>
  /** Delivers a commit to its end, waits until its first environment has it, and gives the artifact. */
  deliver: (name: string) => Promise<Digest>
  /** Asks for something that shall go well, and waits for it. */
  done: (environment: EnvironmentName, wish: Wish) => Promise<Operation>
  state: (environment: EnvironmentName) => Promise<EnvironmentState>
  /** The kinds of everything on record, in log order. */
  kinds: () => Promise<string[]>
  close: () => Promise<void>
}

type Wrap = <A extends object>(activities: A) => A
/** One without `nextKey` has the same keys for ever. */
type Signer = SignerPort & { trust: TrustRoot; nextKey?: SignerClient['nextKey'] }

/**
 * Kiln's workflows on a real Temporal server. What is decided and logged is real (in memory); building,
 * the host and the edge are fakes that keep their contracts. `wrap` breaks every activity in one way.
 */
export async function kilnInMemory(
  { address, client }: TestTemporal,
  {
    wrap = (activities) => activities,
    signer = memorySigner(),
  }: { wrap?: Wrap; signer?: Signer } = {},
): Promise<KilnInMemory> {
  const { store, head } = memoryStore()
  const ledger = openLedger({ store, head, signer, trust: signer.trust, logger })
  const host = new FakeHost(ledger.refresh)
  const app = `a${Math.random().toString(36).slice(2, 10)}`
  const repository = `/repository/${app}`
  const builder = new FakeBuilder(app, store)
  const stage = new Stage()
  const forge = new FakeForge()
  const hostName = `h-${app}`
  const engine = createEngine({ client, host: hostName })
  const worker = async (taskQueue: string, activities: object, bundlePath?: string) =>
    createWorker({
      address,
      taskQueue,
      activities: wrap(stage.wrap(activities)),
      concurrent: 20,
      logger,
      ...(bundlePath === undefined ? {} : { bundlePath }),
    })
  const workers = await Promise.all([
    worker(
      'control',
      controlActivities({ ledger, store, engine, forge, signer }),
      await workflowBundle(bundles),
    ),
    worker('build', builder.activities()),
    worker(`host.${hostName}`, host.activities()),
  ])
  const running = Promise.all(workers.map((one) => one.run()))

  const ended = async (environment: EnvironmentName, id: string): Promise<Operation> =>
    until(`${id} ends`, async () => {
      const operation = await engine.environmentOperation(environment, id)
      return operation !== null && hasEnded(operation) ? operation : undefined
    })
  const ask = async (environment: EnvironmentName, wish: Wish, tail = randomTail()) => {
    const request = requestOf(environment, wish, tail)
    await engine.request(request)
    return request.id
  }
  return {
    engine,
    client,
    ledger,
    store,
    host,
    builder,
    stage,
    forge,
    repository,
    ask,
    ended,
    async revoke(what) {
      const id = `revocation.${randomUUID().replaceAll('-', '').slice(0, 16)}`
      const requestedAt = new Date().toISOString()
      const subject = typeof what === 'string' ? artifact(what) : what
      await engine.startRevocation({
        id,
        subject,
        reason: 'stolen',
        principal: person,
        requestedAt,
      })
      return until(`${id} ends`, async () => {
        const operation = await engine.progress(id)
        return operation !== null && hasEnded(operation) ? operation : undefined
      })
    },
    dev: `${app}/dev`,
    test: `${app}/test`,
    prod: `${app}/prod`,
    state: async (environment) => environmentOf(await ledger.refresh(), environment),
    async done(environment, wish) {
      const operation = await ended(environment, await ask(environment, wish))
      if (operation.state === 'succeeded') return operation
      throw new Error(`${operation.state}: ${operation.failure?.message}`)
    },
    async deliver(name) {
      const commit = commitNamed(name)
      const id = deliveryId(repository, commit, '')
      await engine.startDelivery({
        id,
        repository,
        revision: commit,
        useCache: true,
        principal: person,
        requestedAt: new Date().toISOString(),
      })
      await client.workflow.getHandle(id).result()
      const operation = await engine.progress(id)
      const { change, digest } = operation?.result ?? {}
      if (typeof change === 'string') await ended(`${app}/dev`, change)
      return digest as Digest
    },
    async kinds() {
      await ledger.refresh()
      return ledger.facts().map((fact) => fact.kind)
    },
    async close() {
      for (const one of workers) one.shutdown()
      await running
    },
  }
}

function artifact(digest: Digest): DeniedSubject {
  return { kind: 'artifact', digest }
}

function randomTail(): string {
  return Math.random().toString(36).slice(2)
}

export function requestOf(environment: EnvironmentName, wish: Wish, tail: string): ChangeRequest {
  return {
    id: changeId(environment, tail),
    environment,
    wish,
    reason: 'test',
    principal: person,
    requestedAt: new Date().toISOString(),
  }
}

export function promotion(digest: Digest): Wish {
  return { kind: 'promotion', digest, automatic: false }
}

const now = () => new Date()

/** What a forge was told; with no place, nobody wants to tell it anything. */
export class FakeForge {
  place: StatusPlace | undefined
  settled: object[] = []
  statuses: CommitStatus[] = []
  outcome: StatusOutcome = { written: true, detail: 'shown' }
  write(status: CommitStatus): StatusOutcome {
    this.statuses.push(status)
    return this.outcome
  }
}

function controlActivities({
  ledger,
  store,
  engine,
  forge,
  signer: { nextKey = () => Promise.reject(new Error('this signer keeps its keys')) },
}: {
  forge: FakeForge
  ledger: LedgerWriter
  store: AgingStore
  engine: Engine
  signer: Signer
}) {
  const kept = keptArtifacts({ store: holdingStore(store), ledger, origin })
  const templates = new Map<Digest, CheckedTemplate>()
  const blob = async (digest: Digest) => {
    const bytes = await store.get(`blobs/sha256/${digest.slice('sha256:'.length)}`)
    return bytes ?? Promise.reject(new Error(`no blob ${digest}`))
  }
  return {
    ...ledgerActivities({
      decide: ledger.decide,
      ledger: ledger.refresh,
      publishedBundle: ledger.publishedBundle,
      verify: ledger.verify,
      blob,
      signingKeys: signingKeysInLog({ ledger, signer: { nextKey } }),
      origin,
      version: '0.0.0',
      policy: { name: 'test', digest: digestOfJson('policy') },
      now,
    }),
    ...promoteActivities({
      ledger: ledger.refresh,
      digestOfJson,
      room: async () => undefined,
      gone: kept.gone,
      definition: async (digest) => JSON.parse(new TextDecoder().decode(await blob(digest))),
      request: engine.request,
      now,
    }),
    ...deliveryActivities({
      ledger: ledger.refresh,
      digestOfJson,
      ...kept,
      templates: {
        put: async (template) => void templates.set(template.lock, template),
        get: async (lock) => templates.get(lock),
      },
      engine: {
        build: engine.build,
        async deliver({ repository, commit, part }) {
          const input = {
            id: deliveryId(repository, commit, ''),
            useCache: true,
            principal: { name: 'kiln', kind: 'kiln' } as const,
            ...part,
            repository,
            revision: commit,
            requestedAt: now().toISOString(),
          }
          await engine.startDelivery(input)
          await engine.awaitDelivery(input.id)
          return engine.progress(input.id)
        },
      },
    }),
    ...rehearsalPlans({ ledger: ledger.refresh }),
    ...denialActivities({
      ledger: ledger.refresh,
      request: engine.request,
      cancel: engine.cancelChange,
      ended: engine.changeEnded,
    }),
    ...registryActivities({ store }),
    ...announcementActivities({
      settle: async (delivery, end) => void forge.settled.push({ ...delivery, ...end }),
      statusPlace: async () => forge.place,
      write: async (_place, status) => forge.write(status),
      addressOf: () => undefined,
      log: () => undefined,
    }),
  }
}

/** Looks again and again until `look` gives something. Each look is a workflow query: often is dear, and no faster. */
export async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 50_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 80))
  }
}
