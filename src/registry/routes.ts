import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { KilnError } from '../domain/error.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Access, Admissible, RegistryPrincipal } from './access.ts'
import type { Capture } from './capture.ts'
import { answerPull, checkPull, type PullRoute } from './pull.ts'
import { answerPush } from './push.ts'
import { errorBody, RegistryError } from './registry-error.ts'
import { parseRoute, type Route } from './route.ts'
import type { Tokens } from './tokens.ts'

export type RegistryDependencies = {
  store: BlobStore
  access: Access
  admissible: Admissible
  /** Only the build process captures pushes; without it every push is refused. */
  capture?: Capture
  /** Where other hosts pull; without them a password is asked for. */
  tokens?: Tokens
}

// Not of Kiln's own API: @fastify/swagger leaves it out of the OpenAPI document.
const hidden: object = { hide: true }

/**
 * Mounts the OCI distribution API below `/v2/`, in a scope of its own: bodies reach the handlers as
 * streams, and every error goes out in the specification's form.
 */
export async function registryRoutes(
  app: FastifyInstance,
  dependencies: RegistryDependencies,
): Promise<void> {
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, body, done) => done(null, body))
    scope.setErrorHandler(async (error, request, reply) => sendError(error, request, reply))
    scope.addHook('onRequest', async (_request, reply) => {
      reply.header('docker-distribution-api-version', 'registry/2.0')
    })
    const { tokens } = dependencies
    if (tokens !== undefined) {
      const handler = async (request: FastifyRequest, reply: FastifyReply) =>
        answerToken(dependencies, tokens, { request, reply })
      scope.route({ method: 'GET', url: '/token', schema: hidden, handler })
    }
    for (const url of ['/v2', '/v2/*']) {
      scope.route({
        method: ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'],
        url,
        schema: hidden,
        handler: async (request, reply) => answer(dependencies, request, reply),
      })
    }
  })
}

async function answer(
  dependencies: RegistryDependencies,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const principal = await dependencies.access(request.headers.authorization)
  if (principal === null) throw unauthorized(dependencies, request, reply)
  const route = parseRoute(pathOf(request))
  if (!isFor(principal, route)) throw unauthorized(dependencies, request, reply)
  if (isPull(request.method, route)) {
    await checkPull(dependencies, route, principal)
    return answerPull(dependencies, route, { request, reply })
  }
  const { capture } = dependencies
  if (capture === undefined) {
    throw new RegistryError('UNSUPPORTED', 405, 'this registry takes no pushes')
  }
  if (principal.kind !== 'build') throw new RegistryError('DENIED', 403, 'only builds push')
  return answerPush(capture, route, { request, reply })
}

/** The token for a password; asked for in the clear by nobody, since only the registry over TLS has it. */
async function answerToken(
  { access }: RegistryDependencies,
  tokens: Tokens,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
): Promise<FastifyReply> {
  const principal = await access(request.headers.authorization)
  // A token buys no other: it would never end.
  if (principal === null || principal.repositories !== undefined) {
    reply.header('www-authenticate', basicChallenge)
    throw new RegistryError('UNAUTHORIZED', 401, 'wrong user or password')
  }
  const scopes = new URL(request.url, 'http://registry').searchParams.getAll('scope')
  return reply.header('cache-control', 'no-store').send(await tokens.issue(principal, scopes))
}

const basicChallenge = 'Basic realm="kiln"'

/** Says where what was missing is had; what was asked for need not be anything that there is. */
function unauthorized(
  { tokens }: RegistryDependencies,
  request: FastifyRequest,
  reply: FastifyReply,
): RegistryError {
  const challenge = tokens?.challenge(repositoryIn(request)) ?? basicChallenge
  reply.header('www-authenticate', challenge)
  return new RegistryError('UNAUTHORIZED', 401, 'authentication required')
}

function repositoryIn(request: FastifyRequest): string | null {
  try {
    const route = parseRoute(pathOf(request))
    return 'name' in route ? route.name : null
  } catch {
    return null
  }
}

/** A token is for the repositories that it names. */
function isFor({ repositories }: RegistryPrincipal, route: Route): boolean {
  return repositories === undefined || !('name' in route) || repositories.includes(route.name)
}

function isPull(method: string, route: Route): route is PullRoute {
  return (
    (method === 'GET' || method === 'HEAD') && route.kind !== 'upload' && route.kind !== 'uploads'
  )
}

function pathOf(request: FastifyRequest): string {
  const [path = ''] = request.url.split('?', 1)
  try {
    return decodeURIComponent(path).replace(/^\/v2\/?/, '')
  } catch {
    throw new RegistryError('NAME_INVALID', 400, 'invalid path')
  }
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = registryErrorOf(error)
  if (known.status >= 500) request.log.error({ err: error }, 'the registry could not answer')
  else {
    const { code, status, message } = known
    const [path = ''] = request.url.split('?', 1)
    const place = `${request.method} ${path.slice(0, 300)}`
    request.log[levelOf(known, request)]({ code, status, place }, message)
  }
  // What was not read of a refused upload would be taken for the next request.
  if (request.body !== undefined) reply.header('connection', 'close')
  reply.code(known.status).type('application/json').removeHeader('content-length')
  return reply.send(request.method === 'HEAD' ? undefined : errorBody(known))
}

/** Clients ask without credentials first, and ask for what may be missing before they push it. */
function levelOf({ status }: RegistryError, { method }: FastifyRequest): 'debug' | 'info' {
  const asks = method === 'GET' || method === 'HEAD'
  return status === 401 || (status === 404 && asks) ? 'debug' : 'info'
}

function registryErrorOf(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  if (error instanceof KilnError && error.retryable) {
    return new RegistryError('UNAVAILABLE', 503, 'the store cannot be reached')
  }
  const status = (error as { statusCode?: unknown }).statusCode
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new RegistryError('UNSUPPORTED', status, 'bad request')
  }
  return new RegistryError('UNAVAILABLE', 500, 'internal error')
}
