import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { chmod, mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from 'pino'
import { z } from 'zod'
import { KilnError } from '../../domain/error.ts'
import type { Guard } from './guard.ts'
import type { AuthzRequest } from './request.ts'
import { refusal, type About, type GuardRule, type Verdict } from './verdict.ts'

/** What the guard refused: by which rule, about which container, and what the engine tells of who asked. */
export type Refused = About & {
  rule: GuardRule
  message: string
  method: string
  /** Without the query: clients put variables of containers there. */
  path: string
  /** The name in a client's certificate; empty where the engine listens on a Unix socket and knows nobody. */
  user: string
  /** As the client calls itself. */
  client: string
}

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
 * Answers the engine at the socket, as an authorization plugin; each refusal is told to `refused`, before
 * the engine hears of it. Throws `already_running` when another guard listens there.
 */
export async function serveGuard({
  socketPath,
  guard,
  refused,
  logger,
}: Answering & { socketPath: string }): Promise<{ close: () => Promise<void> }> {
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o755 })
  if (await answers(socketPath)) {
    throw new KilnError('already_running', 'another guard answers here', {
      place: socketPath,
      fix: 'end it first, or name another socket with --socket',
    })
  }
  await rm(socketPath, { force: true })
  const server = createServer((request, response) => {
    respond(request, response, { guard, refused, logger }).catch((error: unknown) => {
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

type Answering = { guard: Guard; refused: (refused: Refused) => void; logger: Logger }

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

async function verdictOf(
  message: IncomingMessage,
  { guard, refused }: Answering,
): Promise<Verdict> {
  const read = await readMessage(message)
  const verdict = read === null ? unread : await guard(read.request)
  if (!verdict.allow) refused(refusedOf(verdict, read))
  return verdict
}

const unread = refusal('unreadable', 'the guard cannot read what the engine told it of the request')

/** Bounded, as whoever reaches the engine may write it. */
const longestText = 500

function refusedOf(
  { rule, message, container, environment }: Exclude<Verdict, { allow: true }>,
  read: Read | null,
): Refused {
  return {
    rule,
    message: cut(message),
    container: container === null ? null : cut(container),
    environment,
    method: cut(read?.request.method),
    path: cut(read?.request.uri.split('?')[0]),
    user: cut(read?.user),
    client: cut(read?.client),
  }
}

function cut(text = ''): string {
  return text.slice(0, longestText)
}

type Read = { request: AuthzRequest; user: string; client: string }

async function readMessage(message: IncomingMessage): Promise<Read | null> {
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
    const header = (wanted: string) =>
      headers.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? ''
    const contentType = header('content-type')
    const body = read.RequestBody ? Buffer.from(read.RequestBody, 'base64') : null
    const { RequestMethod: method, RequestUri: uri, User: user } = read
    return { request: { method, uri, contentType, body }, user, client: header('user-agent') }
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
