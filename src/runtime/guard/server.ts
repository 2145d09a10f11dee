import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { chmod, mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { z } from 'zod'
import { KilnError } from '../../domain/error.ts'
import type { Guard } from './guard.ts'
import type { AuthzRequest } from './request.ts'
import { refusal, type Verdict } from './verdict.ts'

/** The engine shows bodies up to 1 MB, in base64; a client may put the same into its query once more. */
const largestMessage = 8 * 1024 * 1024

/** https://docs.docker.com/engine/extend/plugins_authorization: unset fields are left out. */
const form = z.object({
  User: z.string().default(''),
  RequestMethod: z.string().default(''),
  RequestUri: z.string().default(''),
  RequestHeaders: z.record(z.string(), z.string()).nullish(),
  RequestBody: z.base64().nullish(),
})

/**
 * Answers the engine at the socket, as an authorization plugin. Throws `already_running` when another
 * guard listens there.
 */
export async function serveGuard({
  socketPath,
  guard,
  logger,
}: {
  socketPath: string
  guard: Guard
  logger: Logger
}): Promise<{ close: () => Promise<void> }> {
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o755 })
  if (await answers(socketPath)) {
    throw new KilnError('already_running', 'another guard answers here', {
      place: socketPath,
      fix: 'end it first, or name another socket with --socket',
    })
  }
  await rm(socketPath, { force: true })
  const server = createServer((request, response) => {
    respond(request, response, { guard, logger }).catch((error: unknown) => {
      logger.error({ err: error }, 'cannot answer the engine')
      response.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(socketPath, resolve)
  })
  await chmod(socketPath, 0o600)
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

type Answering = { guard: Guard; logger: Logger }

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  answering: Answering,
): Promise<void> {
  const answer = await answerTo(request, answering)
  // The engine that asks over a connection which a restarted guard has closed asks again without the body.
  response.setHeader('connection', 'close')
  response.setHeader('content-type', 'application/vnd.docker.plugins.v1.2+json')
  response.end(JSON.stringify(answer))
}

async function answerTo(request: IncomingMessage, answering: Answering): Promise<object> {
  if (request.url === '/Plugin.Activate') return { Implements: ['authz'] }
  // What was done cannot be taken back, and what was answered is no business of the guard's.
  if (request.url === '/AuthZPlugin.AuthZRes') {
    request.resume()
    return { Allow: true }
  }
  const verdict = await verdictOf(request, answering)
  return verdict.allow ? { Allow: true } : { Allow: false, Msg: verdict.message }
}

async function verdictOf(message: IncomingMessage, { guard, logger }: Answering): Promise<Verdict> {
  const read = await readMessage(message)
  if (read === null) {
    return refusal('unreadable', 'the guard cannot read what the engine told it of the request')
  }
  const verdict = await guard(read.request)
  if (!verdict.allow) {
    // Without the query: clients put variables of containers there.
    const path = read.request.uri.split('?')[0]
    const { rule, message: why } = verdict
    logger.warn({ rule, method: read.request.method, path, user: read.user }, why)
  }
  return verdict
}

async function readMessage(
  message: IncomingMessage,
): Promise<{ request: AuthzRequest; user: string } | null> {
  try {
    const parts: Buffer[] = []
    let size = 0
    for await (const part of message as AsyncIterable<Buffer>) {
      size += part.length
      if (size > largestMessage) return null
      parts.push(part)
    }
    const read = form.parse(JSON.parse(Buffer.concat(parts).toString('utf8')))
    const headers = Object.entries(read.RequestHeaders ?? {})
    const contentType = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
    const body = read.RequestBody ? Buffer.from(read.RequestBody, 'base64') : null
    const { RequestMethod: method, RequestUri: uri, User: user } = read
    return { request: { method, uri, contentType, body }, user }
  } catch {
    return null
  }
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
