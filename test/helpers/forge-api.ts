import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Forge } from '../../src/source/forge.ts'

export type ShownStatus = { commit: string; state: string; context: string; description: string }

/** Answers in place of the next one; `hang` never answers. */
export type Fault = { status: number; headers?: Record<string, string>; text?: string } | 'hang'

export type ForgeApi = {
  address: string
  statuses: ShownStatus[]
  /** What a request did that the real API does not take: it stays empty. */
  odd: string[]
  /** When each request came, in milliseconds. */
  asked: number[]
  faults: Fault[]
  close: () => Promise<void>
}

const paths = {
  github: /^\/repos\/acme\/hello\/statuses\/([0-9a-f]{40})$/,
  gitea: /^\/repos\/acme\/hello\/statuses\/([0-9a-f]{40})$/,
  gitlab: /^\/projects\/acme%2Fhello\/statuses\/([0-9a-f]{40})$/,
} as const
const states = {
  github: ['error', 'failure', 'pending', 'success'],
  gitea: ['pending', 'success', 'error', 'failure', 'warning'],
  gitlab: ['pending', 'running', 'success', 'failed', 'canceled', 'skipped'],
} as const satisfies Record<Forge, readonly string[]>
const fields = {
  github: ['state', 'target_url', 'description', 'context'],
  gitea: ['state', 'target_url', 'description', 'context'],
  gitlab: [
    'state',
    'ref',
    'name',
    'context',
    'target_url',
    'description',
    'coverage',
    'pipeline_id',
  ],
} as const satisfies Record<Forge, readonly string[]>

/** A stand-in for a forge's status API, stricter than the real ones: what they ignore, it takes for a fault. */
export async function forgeApi(forge: Forge, token: string): Promise<ForgeApi> {
  const state = { statuses: [] as ShownStatus[], odd: [] as string[], asked: [] as number[] }
  const faults: Fault[] = []
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = ''
    for await (const chunk of request) text += String(chunk)
    state.asked.push(Date.now())
    const fault = faults.shift()
    if (fault === 'hang') return
    if (fault !== undefined) {
      response.writeHead(fault.status, fault.headers).end(fault.text ?? '{"message":"no"}')
      return
    }
    const wrong = faultOf(forge, request, { text, token })
    if (wrong !== undefined) {
      if (wrong.status !== 401) state.odd.push(wrong.message)
      response.writeHead(wrong.status).end(JSON.stringify({ message: wrong.message }))
      return
    }
    const body = JSON.parse(text) as Record<string, string>
    const commit = paths[forge].exec(request.url ?? '')?.[1] ?? ''
    const { state: shown = '', description = '' } = body
    const context = body['name'] ?? body['context'] ?? ''
    state.statuses.push({ commit, state: shown, context, description })
    response.writeHead(201, { 'content-type': 'application/json' }).end('{"id":1}')
  }
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    ...state,
    faults,
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

type Wrong = { status: number; message: string }

function faultOf(
  forge: Forge,
  { method, url, headers }: IncomingMessage,
  { text, token }: { text: string; token: string },
): Wrong | undefined {
  const given = {
    github: headers.authorization === `Bearer ${token}`,
    gitea: headers.authorization === `token ${token}`,
    gitlab: headers['private-token'] === token && headers.authorization === undefined,
  }[forge]
  if (!given) return { status: 401, message: 'Bad credentials' }
  if (method !== 'POST') return { status: 404, message: `method ${method}` }
  if (!paths[forge].test(url ?? '')) return { status: 404, message: `path ${url}` }
  if (headers['content-type'] !== 'application/json') return { status: 415, message: 'type' }
  if (headers['user-agent'] === undefined) return { status: 403, message: 'no user agent' }
  if (forge === 'github') {
    if (headers.accept !== 'application/vnd.github+json') return { status: 415, message: 'accept' }
    if (headers['x-github-api-version'] !== '2022-11-28') return { status: 400, message: 'version' }
  }
  return bodyFault(forge, JSON.parse(text) as Record<string, unknown>)
}

function bodyFault(forge: Forge, body: Record<string, unknown>): Wrong | undefined {
  const known: readonly string[] = fields[forge]
  const words: readonly string[] = states[forge]
  const unknown = Object.keys(body).filter((name) => !known.includes(name))
  if (unknown.length > 0) return { status: 422, message: `unknown ${unknown.join()}` }
  if (!words.includes(String(body['state']))) return { status: 422, message: 'state' }
  const { description, target_url: target } = body
  if (typeof description !== 'string' || description === '' || Array.from(description).length > 140)
    return { status: 422, message: 'description' }
  const context = body['name'] ?? body['context']
  if (typeof context !== 'string' || context === '' || context.length > 255)
    return { status: 422, message: 'context' }
  const isUrl = typeof target === 'string' && /^https?:\/\/\S+$/.test(target)
  if (target !== undefined && !isUrl) return { status: 422, message: 'target_url' }
  return undefined
}
