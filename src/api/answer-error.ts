import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import { KilnError } from '../domain/error.ts'
import { routes } from './contract.ts'
import { problemOf, type Problem } from './problem.ts'
import type { Route } from './route.ts'

/** Every refusal and failure of a request: one problem document, and one line in the log that says the same. */
export function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const told = problemOf(error, request.id)
  note(request.log, told, error)
  void reply.code(told.status).type('application/problem+json').send(told)
}

function note(log: FastifyBaseLogger, told: Problem, error: unknown): void {
  if (told.status >= 500) log.error({ err: error }, told.message)
  else log.info({ code: told.code, status: told.status, place: told.place }, told.message)
}

/** A path that is no route, or is one by another method. */
export function answerUnknown(request: FastifyRequest, reply: FastifyReply): void {
  const path = request.url.split('?', 1)[0] ?? ''
  const methods = methodsAt(path)
  if (methods.length === 0) {
    return answerError(new KilnError('not_found', `there is no ${path}`), request, reply)
  }
  const allowed = methods.join(', ')
  reply.header('allow', allowed)
  const message = `${path} does not take ${request.method}`
  answerError(
    new KilnError('method_not_allowed', message, { place: 'method', fix: `use ${allowed}` }),
    request,
    reply,
  )
}

function methodsAt(path: string): string[] {
  const matching = Object.values<Route>(routes).filter((route) => patternOf(route).test(path))
  const methods = new Set(
    matching.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : method)),
  )
  return [...methods].toSorted()
}

function patternOf({ path }: Route): RegExp {
  const pattern = path
    .replaceAll('.', '\\.')
    .replaceAll(/:[a-z]+/gi, '[^/]+')
    .replace('*', '.+')
  return new RegExp(`^${pattern}$`)
}

const brokenStatus: Readonly<Record<string, { status: number; text: string }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, text: 'Request Timeout' },
  HPE_HEADER_OVERFLOW: { status: 431, text: 'Request Header Fields Too Large' },
}

/** What is no HTTP request, never became one in time, or may be read as two. The connection ends. */
export function brokenRequests(log: FastifyBaseLogger) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    const { status, text } = brokenStatus[error.code ?? ''] ?? { status: 400, text: 'Bad Request' }
    const broken = new KilnError('invalid_input', `this is no request: ${text.toLowerCase()}`)
    const told = { ...problemOf(broken, randomUUID()), status }
    note(log, told, error)
    const body = JSON.stringify(told)
    const head = [
      `HTTP/1.1 ${status} ${text}`,
      'content-type: application/problem+json',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ]
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  }
}
