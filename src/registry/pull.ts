import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Digest } from '../domain/digest.ts'
import { mediaTypes } from '../oci/image.ts'
import { blobKey, type BlobStore } from '../store/blob-store.ts'
import { wasCollected } from '../store/collected.ts'
import type { Admissible, RegistryPrincipal } from './access.ts'
import { isReferenced, isRepository, readManifest, referrersIndex, referrersOf } from './catalog.ts'
import { digestOfBytes } from './manifest.ts'
import { parseRange } from './range.ts'
import { RegistryError } from './registry-error.ts'
import type { Route } from './route.ts'

export type PullDependencies = { store: BlobStore; admissible: Admissible }

export type PullRoute = Extract<
  Route,
  { kind: 'base' | 'manifest' | 'blob' | 'referrers' | 'tags' }
>

type Exchange = { request: FastifyRequest; reply: FastifyReply }

/** GET and HEAD of what is in the store. */
export async function answerPull(
  { store }: PullDependencies,
  route: PullRoute,
  exchange: Exchange,
): Promise<FastifyReply> {
  switch (route.kind) {
    case 'base':
      return exchange.reply.type('application/json').send('{}')
    case 'tags':
      // Nothing has a tag here; clients that ask for the list are told so.
      await demandKnown(store, route.name)
      return exchange.reply.send({ name: route.name, tags: [] })
    case 'manifest':
      return answerManifest(store, route, exchange)
    case 'blob':
      return answerBlob(store, route, exchange)
    case 'referrers':
      return answerReferrers(store, route, exchange)
  }
}

/**
 * Throws `DENIED` unless the principal may pull this. A host gets a manifest that some environment
 * may start now and exactly that manifest's content; whether anything else exists it is not told.
 * A reader gets a repository's own blobs. The build process asks for what it may leave out of a push,
 * in whichever repository.
 */
export async function checkPull(
  { store, admissible }: PullDependencies,
  route: PullRoute,
  principal: RegistryPrincipal,
): Promise<void> {
  if (principal.kind === 'host' && route.kind !== 'base') {
    return demandAdmissible({ store, admissible }, route)
  }
  if (principal.kind === 'reader' && route.kind === 'blob') return demandReferenced(store, route)
}

/** Blobs are shared by all repositories; one is in a repository when a manifest there names it. */
async function demandReferenced(
  store: BlobStore,
  { name, digest }: Extract<PullRoute, { kind: 'blob' }>,
): Promise<void> {
  if (await isReferenced(store, { repository: name, blob: digest }, () => true)) return
  throw new RegistryError('BLOB_UNKNOWN', 404, 'the repository has no such blob')
}

async function demandAdmissible(
  { store, admissible }: PullDependencies,
  route: PullRoute,
): Promise<void> {
  if (await hostMayPull(store, route, admissible)) return
  throw new RegistryError('DENIED', 403, 'no environment may start this artifact now')
}

async function hostMayPull(
  store: BlobStore,
  route: PullRoute,
  admissible: Admissible,
): Promise<boolean> {
  if (route.kind === 'manifest' && route.reference.kind === 'digest') {
    return (await admissible())(route.reference.digest)
  }
  if (route.kind !== 'blob') return false
  return isReferenced(store, { repository: route.name, blob: route.digest }, await admissible())
}

async function demandKnown(store: BlobStore, repository: string): Promise<void> {
  if (await isRepository(store, repository)) return
  throw new RegistryError('NAME_UNKNOWN', 404, 'there is no such repository')
}

async function answerManifest(
  store: BlobStore,
  { name, reference }: Extract<Route, { kind: 'manifest' }>,
  exchange: Exchange,
): Promise<FastifyReply> {
  if (reference.kind === 'fallback') {
    const descriptors = await referrersOf(store, name, reference.subject)
    if (descriptors.length > 0) return sendIndex(exchange, referrersIndex(descriptors))
  }
  if (reference.kind !== 'digest') throw await unknownManifest(store, reference)
  const found = await readManifest(store, name, reference.digest)
  switch (found.kind) {
    case 'sound':
      return sendBytes(exchange, found.manifest.mediaType, found.bytes)
    case 'none':
      throw await unknownManifest(store, reference)
    case 'damaged':
      exchange.request.log.error({ digest: reference.digest }, 'this manifest was damaged')
      throw damagedManifest(reference.digest)
  }
}

/** 404, since engines show nobody what a 5xx says. */
function damagedManifest(digest: Digest): RegistryError {
  const fix = '`kiln fsck` names what else is, docs/recovery.md brings it back'
  return new RegistryError(
    'MANIFEST_UNKNOWN',
    404,
    `${digest} was damaged in the store, its bytes have another digest: ${fix}`,
  )
}

async function unknownManifest(
  store: BlobStore,
  reference: Extract<Route, { kind: 'manifest' }>['reference'],
): Promise<RegistryError> {
  const collected =
    reference.kind === 'digest' && (await wasCollected(store, reference.digest))
      ? `${reference.digest} was collected; kiln rebuild makes it again`
      : 'the repository has no such manifest'
  return new RegistryError('MANIFEST_UNKNOWN', 404, collected)
}

async function answerReferrers(
  store: BlobStore,
  { name, digest }: Extract<Route, { kind: 'referrers' }>,
  exchange: Exchange,
): Promise<FastifyReply> {
  const all = await referrersOf(store, name, digest)
  const wanted = new URL(exchange.request.url, 'http://registry').searchParams.get('artifactType')
  if (wanted === null) return sendIndex(exchange, referrersIndex(all))
  exchange.reply.header('oci-filters-applied', 'artifactType')
  return sendIndex(exchange, referrersIndex(all.filter((one) => one.artifactType === wanted)))
}

function sendIndex(exchange: Exchange, bytes: Uint8Array): FastifyReply {
  return sendBytes(exchange, mediaTypes.index, bytes)
}

function sendBytes({ request, reply }: Exchange, type: string, bytes: Uint8Array): FastifyReply {
  reply
    .header('content-type', type)
    .header('content-length', bytes.byteLength)
    .header('docker-content-digest', digestOfBytes(bytes))
  return reply.send(request.method === 'HEAD' ? undefined : Buffer.from(bytes))
}

async function answerBlob(
  store: BlobStore,
  { digest }: Extract<Route, { kind: 'blob' }>,
  { request, reply }: Exchange,
): Promise<FastifyReply> {
  const size = await store.size(blobKey(digest))
  if (size === undefined) throw new RegistryError('BLOB_UNKNOWN', 404, 'no such blob')
  const range = parseRange(request.headers.range, size)
  if (range.kind === 'unsatisfiable') {
    reply.header('content-range', `bytes */${size}`)
    throw new RegistryError('SIZE_INVALID', 416, `the blob has ${size} bytes`)
  }
  reply
    .header('content-type', 'application/octet-stream')
    .header('docker-content-digest', digest)
    .header('accept-ranges', 'bytes')
    .header('content-length', range.kind === 'part' ? range.end - range.start + 1 : size)
  if (range.kind === 'part') {
    reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${size}`)
  }
  if (request.method === 'HEAD') return reply.send()
  const content = await store.readBlob(digest, range.kind === 'part' ? range : undefined)
  if (content === undefined) throw new RegistryError('BLOB_UNKNOWN', 404, 'no such blob')
  return reply.send(Readable.from(content, { objectMode: false }))
}
