import { chmod, mkdir, rename, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { errors, KilnError } from '../src/domain/error.ts'
import { openSigner, type Signer, type SignerOptions } from './signer.ts'
import { maxRequestBytes } from './statement.ts'
import type { TrustRoot } from './trust.ts'

const requestTimeoutMs = 30_000

export type SignerServer = { readonly trust: TrustRoot; close: () => Promise<void> }

/**
 * The signer's process: HTTP on a Unix socket that only its own user can open (0600).
 * `POST /sign {kind, statement}`, `POST /checkpoint {origin, size, root, proof}`,
 * `POST /freshness {time, checkpoint, epochs}`, `GET /state`, `GET /roles`, `POST /roles <bundle>`, `GET /keys`,
 * `POST /next-key {role, kms}`, `GET /health`. Resolves when it answers; throws `already_running` when another signer has the keys.
 */
export async function startSigner(
  options: SignerOptions & { socket: string; logger: Logger },
): Promise<SignerServer> {
  const { socket, logger } = options
  const signer = await openSigner(options)
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    void answer({ signer, logger }, request, response)
  })
  try {
    await listen(server, options.directory, socket)
  } catch (error) {
    signer.close()
    throw error
  }
  return {
    get trust() {
      return signer.history().trust
    },
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeIdleConnections()
      })
      await rm(socket, { force: true })
      signer.close()
    },
  }
}

/** Bound inside the keys folder, which is closed to others, and moved when it is closed itself. A dead signer's socket is replaced. */
async function listen(server: Server, directory: string, socket: string): Promise<void> {
  const bound = join(directory, 'new.sock')
  await rm(bound, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(bound, resolve)
  })
  await chmod(bound, 0o600)
  await mkdir(dirname(socket), { recursive: true, mode: 0o700 })
  await rename(bound, socket)
}

type Context = { signer: Signer; logger: Logger }

async function answer(
  context: Context,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let status = 200
  let body: unknown
  try {
    body = await route(context, request)
  } catch (error) {
    const told = error instanceof KilnError ? error : new KilnError('internal', 'the signer failed')
    // The error's own text stays here; its fields could quote what was read.
    if (told !== error) context.logger.error({ name: nameOf(error) }, 'a request failed')
    else context.logger.warn({ code: told.code, place: told.place }, told.message)
    status = errors[told.code].http
    const { code, message, place = null, fix = null } = told
    body = { error: { code, message, place, fix } }
  }
  const bytes = Buffer.from(JSON.stringify(body))
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
    .end(bytes)
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error
}

async function route({ signer, logger }: Context, request: IncomingMessage): Promise<unknown> {
  switch (`${request.method} ${request.url}`) {
    case 'GET /health':
      return { status: 'ok', origin: signer.history().trust.origin }
    case 'GET /state':
      return { last: signer.lastCheckpoint() }
    case 'POST /sign': {
      const { bundle, notice } = await signer.sign(await readJson(request))
      logger.info(notice, 'signed')
      return bundle
    }
    case 'POST /freshness':
      return signer.freshness(await readJson(request))
    case 'POST /checkpoint': {
      const decided = signer.checkpoint(await readJson(request))
      if (decided.kind === 'refused') logger.warn({ reason: decided.message }, 'no checkpoint')
      return decided
    }
    case 'GET /roles':
      return signer.history()
    case 'GET /keys':
      return signer.places()
    case 'POST /roles': {
      const { at, trust } = await signer.takeRoles(await readJson(request))
      logger.info({ at, keys: trust.roles.length }, 'the list of roles in the log')
      return { at }
    }
    case 'POST /next-key': {
      const next = await signer.nextKey(await readJson(request))
      logger.info(next, 'a key waits for its place in the list of roles')
      return next
    }
    default:
      throw new KilnError('not_found', 'the signer has no such call')
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of request as AsyncIterable<Uint8Array>) {
    size += part.length
    if (size > maxRequestBytes) throw new KilnError('invalid_input', 'more than 4 MB to sign')
    parts.push(part)
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)))
  } catch {
    throw new KilnError('invalid_input', 'not JSON')
  }
}
