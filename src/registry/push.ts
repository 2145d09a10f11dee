import type { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Capture } from './capture.ts'
import { RegistryError } from './registry-error.ts'
import { digestOf, type Route } from './route.ts'

type Exchange = { request: FastifyRequest; reply: FastifyReply }

/** POST, PATCH, PUT and DELETE: the push half, where the process captures pushes. */
export async function answerPush(
  capture: Capture,
  route: Route,
  exchange: Exchange,
): Promise<FastifyReply> {
  const { method } = exchange.request
  if (route.kind === 'uploads' && method === 'POST') return postUpload(capture, route, exchange)
  if (route.kind === 'upload') return answerUpload(capture, route, exchange)
  if (route.kind === 'manifest' && method === 'PUT') return putManifest(capture, route, exchange)
  throw new RegistryError('UNSUPPORTED', 405, `${method} is not supported here`)
}

/** A mount is answered as an ordinary upload, as the specification allows; the client then asks by HEAD. */
async function postUpload(
  capture: Capture,
  { name }: Extract<Route, { kind: 'uploads' }>,
  exchange: Exchange,
): Promise<FastifyReply> {
  const digest = queryOf(exchange.request).get('digest')
  const id = capture.uploads.begin(name)
  if (digest === null) return accepted(exchange.reply, { name, id }, 0)
  return finish(capture, { name, id }, exchange)
}

async function answerUpload(
  capture: Capture,
  { name, id }: Extract<Route, { kind: 'upload' }>,
  exchange: Exchange,
): Promise<FastifyReply> {
  const { request, reply } = exchange
  switch (request.method) {
    case 'PATCH':
      return accepted(
        reply,
        { name, id },
        await capture.uploads.append({ name, id }, bodyOf(request)),
      )
    case 'PUT':
      return finish(capture, { name, id }, exchange)
    case 'DELETE':
      capture.uploads.cancel({ name, id })
      return reply.code(204).send()
    default:
      throw new RegistryError('UNSUPPORTED', 405, `${request.method} is not supported here`)
  }
}

async function finish(
  capture: Capture,
  at: { name: string; id: string },
  { request, reply }: Exchange,
): Promise<FastifyReply> {
  const wanted = queryOf(request).get('digest')
  if (wanted === null) throw new RegistryError('DIGEST_INVALID', 400, 'the digest is missing')
  const digest = digestOf(wanted)
  if (request.body !== undefined) await capture.uploads.append(at, bodyOf(request))
  await capture.uploads.finish(at, digest)
  return reply
    .code(201)
    .header('location', `/v2/${at.name}/blobs/${digest}`)
    .header('docker-content-digest', digest)
    .send()
}

async function putManifest(
  capture: Capture,
  { name, reference }: Extract<Route, { kind: 'manifest' }>,
  { request, reply }: Exchange,
): Promise<FastifyReply> {
  if (reference.kind === 'fallback') {
    throw new RegistryError('UNSUPPORTED', 405, 'referrers are not pushed here')
  }
  const text = reference.kind === 'digest' ? reference.digest : reference.tag
  const { digest } = await capture.putManifest({ name, reference: text }, bodyOf(request))
  return reply
    .code(201)
    .header('location', `/v2/${name}/manifests/${digest}`)
    .header('docker-content-digest', digest)
    .send()
}

function accepted(
  reply: FastifyReply,
  { name, id }: { name: string; id: string },
  size: number,
): FastifyReply {
  return reply
    .code(202)
    .header('location', `/v2/${name}/blobs/uploads/${id}`)
    .header('docker-upload-uuid', id)
    .header('range', `0-${Math.max(size - 1, 0)}`)
    .send()
}

function bodyOf(request: FastifyRequest): Readable {
  if (request.body === undefined) throw new RegistryError('SIZE_INVALID', 400, 'no content')
  return request.body as Readable
}

function queryOf(request: FastifyRequest): URLSearchParams {
  return new URL(request.url, 'http://registry').searchParams
}
