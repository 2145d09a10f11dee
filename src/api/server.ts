import { fastifySSE } from '@fastify/sse'
import fastifySwagger from '@fastify/swagger'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import {
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
} from 'fastify-type-provider-zod'
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { KilnError } from '../domain/error.ts'
import type { Principal } from '../domain/statement.ts'
import { answerError, answerUnknown, brokenRequests } from './answer-error.ts'
import { bearerToken } from './auth.ts'
import { routes, type RouteName } from './contract.ts'
import { completeDocument, schemaOf, typeOf } from './document.ts'
import { openStreams } from './events.ts'
import { handlers, type Call, type Ports } from './handlers.ts'
import { requestId, type RequestMemory } from './requests.ts'
import type { Route } from './route.ts'
import { registerWebhooks, webhookPath } from './webhooks.ts'

export type ApiDeps = Ports & {
  logger: Logger
  version: string
  /** The name goes on record as who asked. */
  token: { name: string; secret: string }
  requests: RequestMemory
  /** How often an idle event stream says that it lives. */
  heartbeatMs?: number
  /** From the first byte to the last of one request, in milliseconds. */
  requestTimeoutMs?: number
}

const limits = {
  bodyLimit: 64 * 1024,
  /** From the first byte to the last of one request. */
  requestTimeout: 30_000,
  /** Longer than a load balancer keeps an idle connection, so that we never close one it is about to use. */
  keepAliveTimeout: 72_000,
  routerOptions: { maxParamLength: 300 },
  http: { maxHeaderSize: 16 * 1024, headersTimeout: 15_000 },
} as const

/** Node looks now and then for requests that take too long; a header may not take longer than the whole. */
function clocksOf(requestTimeout: number) {
  const { headersTimeout } = limits.http
  return {
    requestTimeout,
    http: {
      ...limits.http,
      headersTimeout: Math.min(headersTimeout, requestTimeout),
      connectionsCheckingInterval: Math.min(5_000, requestTimeout),
    },
  }
}

type Principals = WeakMap<FastifyRequest, Principal>

/** Kiln's HTTP interface, not yet listening. `close()` ends open event streams at once. */
export async function createApi(deps: ApiDeps): Promise<FastifyInstance> {
  const logger: FastifyBaseLogger = deps.logger
  const app: FastifyInstance = Fastify({
    ...limits,
    ...clocksOf(deps.requestTimeoutMs ?? limits.requestTimeout),
    loggerInstance: logger,
    genReqId: () => randomUUID(),
    forceCloseConnections: 'idle',
    frameworkErrors: answerError,
    clientErrorHandler: brokenRequests(logger),
  })
  const principals: Principals = new WeakMap()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler(answerError)
  app.setNotFoundHandler(answerUnknown)
  authenticateAll(app, deps, principals)
  await app.register(fastifySSE, { heartbeatInterval: deps.heartbeatMs ?? 15_000 })
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Kiln', version: deps.version },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    },
    transform: jsonSchemaTransform,
    transformObject: completeDocument,
  })
  registerRoutes(app, deps, principals)
  await registerWebhooks(app, deps.webhooks)
  await app.ready()
  return app
}

function authenticateAll(app: FastifyInstance, deps: ApiDeps, principals: Principals): void {
  const authenticate = bearerToken(deps.token)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' })
    if (isOpen(request)) return
    principals.set(request, authenticate(request.headers.authorization))
    // Before a body is asked for: what is wrong with one does not matter where nothing takes it.
    if (request.is404) {
      answerUnknown(request, reply)
      return reply
    }
  })
  // A request to do something may leave out a body in which nothing is required.
  app.addHook('preValidation', async (request) => {
    if (request.method === 'POST' && request.body === undefined) request.body = {}
  })
}

/**
 * Closed from the start: what the contract does not name as open needs the token, unknown paths too. A
 * webhook's signature is checked over its body, before anything in it is read.
 */
function isOpen({ method, routeOptions: { url } }: FastifyRequest): boolean {
  if (method === 'POST' && url === webhookPath) return true
  return Object.values(routes).some(
    (route) => route.access === 'open' && route.method === method && route.path === url,
  )
}

function registerRoutes(app: FastifyInstance, deps: ApiDeps, principals: Principals): void {
  const streams = openStreams()
  app.addHook('preClose', async () => streams.closeAll())
  const handle = handlers(deps, streams, () => JSON.stringify(app.swagger()))
  for (const [name, route] of Object.entries<Route>(routes)) {
    // The table pairs each handler with its own route's types; in a loop over all of them they meet as `never`.
    const run = handle[name as RouteName] as (call: Call<never>) => Promise<unknown>
    const type = typeOf(route)
    app.route({
      method: route.method,
      url: route.path,
      schema: schemaOf(name, route),
      ...(route.answer.kind === 'events' ? { sse: 'manual' } : {}),
      handler: async (request, reply) => {
        const result = await run(callOf(request, reply, { deps, principals }))
        if (route.answer.kind === 'events') return reply
        reply.code(route.status)
        if (type !== null) reply.type(type)
        return result instanceof Uint8Array ? Buffer.from(result) : result
      },
    })
  }
}

type Around = { deps: ApiDeps; principals: Principals }

function callOf(request: FastifyRequest, reply: FastifyReply, around: Around): Call<RouteName> {
  const { params, query, body } = request
  return {
    params,
    query,
    body,
    reply,
    lastEventId: request.headers['last-event-id'],
    asked: async () => {
      const principal = around.principals.get(request)
      if (principal === undefined) throw new KilnError('unauthenticated', 'nobody asked')
      const key = request.headers['idempotency-key']
      const path = `${request.method} ${request.url}`
      const id = await requestId(around.deps.requests, Array.isArray(key) ? key.join(',') : key, {
        principal,
        path,
        body,
      })
      return { principal, id }
    },
  } as Call<RouteName>
}
