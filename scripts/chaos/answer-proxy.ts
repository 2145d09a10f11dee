import { rmSync } from 'node:fs'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect } from 'node:net'

/**
 * Stands in front of an HTTP server: a Docker Engine, an object store. An armed drop lets the next
 * request that has an effect through, waits for its whole answer, and then cuts the connection: the
 * effect happened, the answer is lost.
 */
export type AnswerProxy = {
  /** Port on loopback; 0 where it listens on a Unix socket. */
  port: number
  /** Drops the answers of the next `count` requests that have an effect. */
  arm: (count: number) => void
  /** What was dropped, `POST /containers/create`. */
  dropped: readonly string[]
  close: () => Promise<void>
}

type Place = { socketPath: string } | { host: string; port: number }

export async function startAnswerProxy(given: {
  /** A Unix socket's path, or null for a free port. */
  socketPath: string | null
  to: Place
  effects: readonly RegExp[]
  /** Drops an effect's answer though none is armed. */
  also?: (effect: string) => boolean
}): Promise<AnswerProxy> {
  const { socketPath, to, effects, also = () => false } = given
  const dropped: string[] = []
  let armed = 0
  const server = createServer((incoming, response) => {
    const effect = effectOf(effects, incoming)
    const drops = effect !== null && (armed > 0 || also(effect))
    if (drops && armed > 0) armed -= 1
    forward({ to, incoming, response, drops })
    if (drops) dropped.push(effect)
  })
  // Attaching to a container leaves HTTP: bytes go through as they are.
  server.on('upgrade', (incoming, client, head) => {
    const upstream = connect('host' in to ? to : { path: to.socketPath }, () => {
      upstream.write(rawRequest(incoming))
      upstream.write(head)
      upstream.pipe(client).pipe(upstream)
    })
    upstream.on('error', () => client.destroy())
    client.on('error', () => upstream.destroy())
  })
  if (socketPath !== null) rmSync(socketPath, { force: true })
  await new Promise<void>((resolve) => {
    if (socketPath === null) server.listen(0, '127.0.0.1', resolve)
    else server.listen(socketPath, resolve)
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    arm: (count) => {
      armed = count
    },
    dropped,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}

/** What changes something in an engine. */
export const dockerEffects = [
  /^POST .*\/containers\/create/,
  /^POST .*\/containers\/[^/]+\/(start|stop|unpause)/,
  /^DELETE .*\/(containers|networks|images)\//,
  /^POST .*\/networks\/create/,
  /^POST .*\/images\/create/,
  /^POST .*\/images\/.*\/push/,
]

/** What changes something in an object store. */
export const storeEffects = [/^PUT /, /^DELETE /]

function effectOf(
  effects: readonly RegExp[],
  { method, url = '' }: IncomingMessage,
): string | null {
  const [path = ''] = url.split('?')
  return effects.some((effect) => effect.test(`${method} ${url}`)) ? `${method} ${path}` : null
}

function forward(given: {
  to: Place
  incoming: IncomingMessage
  response: ServerResponse
  drops: boolean
}): void {
  const { to, incoming, response, drops } = given
  const { method = 'GET', url = '/', headers } = incoming
  const upstream = request({ ...to, method, path: url, headers }, (answer) => {
    if (drops) {
      // Read to its end: then it has happened.
      answer.resume()
      answer.on('close', () => incoming.socket.destroy())
      return
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    response.flushHeaders()
    answer.pipe(response)
    answer.on('error', () => response.destroy())
  })
  upstream.on('error', () => incoming.socket.destroy())
  response.on('close', () => upstream.destroy())
  incoming.pipe(upstream)
}

function rawRequest({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/1.1`]
  for (let at = 0; at < rawHeaders.length; at += 2)
    lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
