import type { FastifyReply } from 'fastify'
import type { z } from 'zod'
import { KilnError } from '../domain/error.ts'
import { environmentName } from '../domain/name.ts'
import type { RouteName, Routes } from './contract.ts'
import { lastEventId, sendEvents, type OpenStreams } from './events.ts'
import type {
  Asked,
  LedgerFiles,
  Logs,
  Operations,
  SigningKeys,
  Views,
  Watches,
  Webhooks,
} from './ports.ts'
import { hexOfPrefix, onlyArtifact } from './prefix.ts'
import type { Answer } from './route.ts'

export type Ports = {
  operations: Operations
  watches: Watches
  webhooks: Webhooks
  views: Views
  logs: Logs
  ledger: LedgerFiles
  signingKeys: SigningKeys
}

/** One request, parsed: every value in it has passed the contract. */
export type Call<N extends RouteName> = {
  params: z.output<Routes[N]['params']>
  query: z.output<Routes[N]['query']>
  body: z.output<Routes[N]['body']>
  /** Who asks and under which id. Only requests that do something may ask for it. */
  asked: () => Promise<Asked>
  lastEventId: string | string[] | undefined
  reply: FastifyReply
}

type Handled<N extends RouteName> = Routes[N]['answer'] extends { kind: 'events' }
  ? void
  : Answer<Routes[N]>

export type Handlers = { [N in RouteName]: (call: Call<N>) => Promise<Handled<N>> }

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new KilnError('not_found', `there is no ${what}`)
  return value
}

const nameOf = (params: { app: string; environment: string }) =>
  environmentName(params.app, params.environment)

/** What each route of the contract does. Nothing is decided here: routes find out who asks, and pass it on. */
export function handlers(ports: Ports, streams: OpenStreams, openapi: () => string): Handlers {
  return {
    health: async () => ({ ok: true }),
    openapi: async () => openapi(),
    status: () => ports.views.status(),
    ...operationHandlers(ports, streams),
    ...environmentHandlers(ports),
    ...artifactHandlers(ports),
    ...watchHandlers(ports),
    webhooks: async ({ query }) => ({ items: await ports.webhooks.list(query.limit) }),
    checkpoint: () => ports.ledger.checkpoint(),
    tile: async ({ params }) => found(await ports.ledger.tile(params['*']), `tile ${params['*']}`),
    freshness: () => ports.ledger.freshness(),
    logEntry: ({ body }) => ports.ledger.log(body),
    trustedRoot: () => ports.ledger.trusted('trusted_root.json'),
    verifierKey: () => ports.ledger.trusted('log.vkey'),
    signingKeys: async () => ({ items: await ports.signingKeys.list() }),
    rotateSigningKey: async ({ asked, params, body }) => ({
      items: await ports.signingKeys.rotate(await asked(), { ...params, ...body }),
    }),
    reindex: async ({ asked }) => ports.ledger.reindex(await asked()),
  }
}

function operationHandlers({ operations, logs }: Ports, streams: OpenStreams) {
  const get = async (id: string) => found(await operations.get(id), `operation ${id}`)
  return {
    startBuild: async ({ asked, body }) => ({
      operation: await operations.startBuild(await asked(), body),
    }),
    startRebuild: async ({ asked, body }) => ({
      operation: await operations.startRebuild(await asked(), body),
    }),
    revoke: async ({ asked, body }) => ({
      operation: await operations.revoke(await asked(), body),
    }),
    buildLog: async ({ params, query }) =>
      found(await logs.build(params.id, query.tail), `log of ${params.id}`),
    operations: ({ query }) => operations.list(pageOf(query)),
    operation: async ({ params }) => ({ operation: await get(params.id) }),
    events: async ({ params, reply, lastEventId: header }) => {
      const after = lastEventId(header)
      await get(params.id)
      await sendEvents(reply, {
        after,
        streams,
        snapshots: (from, signal) => operations.watch(params.id, from, signal),
      })
    },
    cancel: async ({ asked, params }) => ({
      operation: found(await operations.cancel(await asked(), params.id), `operation ${params.id}`),
    }),
  } satisfies Partial<Handlers>
}

function environmentHandlers({ operations, views, logs }: Ports) {
  return {
    environments: async () => ({ items: await views.environments() }),
    environment: async ({ params }) => {
      const name = nameOf(params)
      return found(await views.environment(name), `environment ${name}`)
    },
    history: ({ params, query }) => views.history(nameOf(params), pageOf(query)),
    rollbackTargets: async ({ params }) => ({
      items: await views.rollbackTargets(nameOf(params)),
    }),
    verification: ({ params, query }) => views.verification(nameOf(params), query.sequence),
    candidates: async ({ params }) => ({ items: await views.candidates(nameOf(params)) }),
    instanceLogs: async ({ params, query }) => {
      const name = nameOf(params)
      return found(await logs.instances(name, query.tail), `log of ${name}`)
    },
    promote: async ({ asked, params, body }) => ({
      operation: await operations.promote(await asked(), { environment: nameOf(params), ...body }),
    }),
    rollback: async ({ asked, params, body }) => ({
      operation: await operations.rollback(await asked(), {
        environment: nameOf(params),
        to: body.to ?? null,
        reason: body.reason,
      }),
    }),
    scale: async ({ asked, params, body }) => ({
      operation: await operations.scale(await asked(), { environment: nameOf(params), ...body }),
    }),
    rotate: async ({ asked, params, body }) => ({
      operation: await operations.rotate(await asked(), { environment: nameOf(params), ...body }),
    }),
    secrets: async ({ params }) => {
      const name = nameOf(params)
      return { items: found(await views.secrets(name), `environment ${name}`) }
    },
    breakGlass: async ({ asked, body }) => operations.breakGlass(await asked(), body),
    rehearse: async ({ asked, params }) => ({
      operation: await operations.rehearse(await asked(), nameOf(params)),
    }),
    scan: async ({ asked, params }) => operations.scan(await asked(), nameOf(params)),
    release: async ({ asked, params, body }) => ({
      operation: await operations.release(await asked(), { environment: nameOf(params), ...body }),
    }),
  } satisfies Partial<Handlers>
}

function artifactHandlers({ views }: Ports) {
  const artifact = async (text: string) => {
    const hex = hexOfPrefix(text)
    return onlyArtifact(await views.artifactsBeginningWith(hex), hex)
  }
  const attached = async (text: string, what: 'sbom' | 'files' | 'provenance') => {
    const { digest } = await artifact(text)
    return found(await views.attached(digest, what), `${what} of ${digest}`)
  }
  return {
    artifacts: ({ query }) => views.artifacts({ app: query.app }, pageOf(query)),
    artifact: ({ params }) => artifact(params.digest),
    sbom: ({ params }) => attached(params.digest, 'sbom'),
    files: ({ params }) => attached(params.digest, 'files'),
    provenance: ({ params }) => attached(params.digest, 'provenance'),
    key: async ({ params }) => {
      const name = nameOf(params)
      return found(
        await views.keyBundle(name, params.sequence),
        `key ${params.sequence} of ${name}`,
      )
    },
  } satisfies Partial<Handlers>
}

function watchHandlers({ watches }: Ports) {
  return {
    startWatch: async ({ asked, body }) => ({ watch: await watches.start(await asked(), body) }),
    watches: async () => ({ items: await watches.list() }),
    stopWatch: async ({ asked, params }) => ({
      watch: found(await watches.stop(await asked(), params.id), `watch ${params.id}`),
    }),
  } satisfies Partial<Handlers>
}

function pageOf(query: { limit: number; cursor?: string | undefined }) {
  return { limit: query.limit, cursor: query.cursor }
}
