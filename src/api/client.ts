import { createParser } from 'eventsource-parser'
import { KilnError } from '../domain/error.ts'
import { routes, type AnswerOf, type InputOf, type RouteName } from './contract.ts'
import { pathOf, type Event, type Route } from './route.ts'
import { problem } from './views.ts'

/** `address` is the server's origin, `http://127.0.0.1:7480`. */
export type Connection = { address: string; token: string }

export type CallOptions = {
  /** The same key again gives the same operation. */
  idempotencyKey?: string
  /** Events with ids above this one. */
  after?: number
  signal?: AbortSignal
}

/** One method for each route. Refusals are thrown as the server's own `KilnError`, see `RemoteError`. */
export type Client = {
  [N in RouteName]: (input: InputOf<N>, options?: CallOptions) => Promise<AnswerOf<N>>
}

/** An error as the server told it, with the id that its log has. */
export class RemoteError extends KilnError {
  readonly requestId: string

  constructor(told: ReturnType<typeof problem.parse>) {
    const { code, message, place, fix, lines } = told
    super(code, message, {
      lines,
      ...(place === null ? {} : { place }),
      ...(fix === null ? {} : { fix }),
    })
    this.requestId = told.requestId
  }
}

type LooseInput = {
  params?: Record<string, unknown>
  query?: Record<string, string | number | boolean | undefined>
  body?: unknown
}

/** Longest wait for an answer that is not a stream, in milliseconds. */
const answerTimeoutMs = 60_000

/** Calls the routes of the contract, and checks each answer against it. */
export function client(connection: Connection): Client {
  const calls = Object.entries<Route>(routes).map(([name, route]) => [
    name,
    (input: LooseInput, options: CallOptions = {}) => call(connection, route, { input, options }),
  ])
  return Object.fromEntries(calls) as Client
}

async function call(
  connection: Connection,
  route: Route,
  { input, options }: { input: LooseInput; options: CallOptions },
): Promise<unknown> {
  const url = new URL(pathOf(route.path, input.params ?? {}), connection.address)
  for (const [name, value] of Object.entries(input.query ?? {})) {
    if (value !== undefined) url.searchParams.set(name, String(value))
  }
  const response = await send(connection, url, {
    method: route.method,
    headers: { ...headersOf(route, options), authorization: `Bearer ${connection.token}` },
    body: route.method === 'POST' ? JSON.stringify(input.body ?? {}) : null,
    signal: signalOf(route, options.signal),
  })
  if (!response.ok) throw await refusal(response)
  const { answer } = route
  switch (answer.kind) {
    case 'json':
      return answer.schema.parse(await response.json())
    case 'text':
      return response.text()
    case 'bytes':
      return new Uint8Array(await response.arrayBuffer())
    case 'events':
      return events(response, (data) => answer.schema.parse(data))
  }
}

function headersOf(route: Route, options: CallOptions): Record<string, string> {
  return {
    ...(route.method === 'POST' ? { 'content-type': 'application/json' } : {}),
    ...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
    ...(options.after === undefined ? {} : { 'last-event-id': String(options.after) }),
  }
}

function signalOf(route: Route, given: AbortSignal | undefined): AbortSignal {
  if (route.answer.kind === 'events') return given ?? new AbortController().signal
  const timeout = AbortSignal.timeout(answerTimeoutMs)
  return given === undefined ? timeout : AbortSignal.any([given, timeout])
}

async function send(connection: Connection, url: URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...init, redirect: 'error' })
  } catch (error) {
    if (init.signal?.aborted === true && !isTimeout(init.signal.reason)) throw error
    throw new KilnError('not_running', `no Kiln answers at ${connection.address}`, {
      cause: error,
      fix: 'kiln up',
    })
  }
}

function isTimeout(reason: unknown): boolean {
  return reason instanceof DOMException && reason.name === 'TimeoutError'
}

async function refusal(response: Response): Promise<KilnError> {
  const told = problem.safeParse(await response.json().catch(() => undefined))
  if (told.success) return new RemoteError(told.data)
  return new KilnError('internal', `the server answered ${response.status} without saying why`, {
    fix: 'is the address that of a Kiln of this version?',
  })
}

/** Reads server-sent events as they come; ends when the server ends, throws when the connection breaks. */
async function* events(
  response: Response,
  parse: (data: unknown) => unknown,
): AsyncGenerator<Event<unknown>> {
  const ready: Event<unknown>[] = []
  const parser = createParser({
    onEvent: ({ id, data }) => {
      ready.push({ id: Number(id), data: parse(JSON.parse(data)) })
    },
    maxBufferSize: 4 * 1024 * 1024,
  })
  const text = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    parser.feed(text.decode(chunk, { stream: true }))
    yield* ready.splice(0)
  }
}
