import { createServer, request as askFor, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { S3Settings } from '../../src/store/s3-client.ts'

/** What a client asks an S3 service for; `key` is empty for what is asked of the bucket. */
export type Asked = { method: string; key: string; query: URLSearchParams }
export type Answer = { status: number; headers: NodeJS.Dict<string | string[]>; body: Buffer }

/** What is answered to a request. `pass` has the service do it, and gives what it answers. */
export type Twist = (asked: Asked, pass: () => Promise<Answer>) => Promise<Answer>

const asIs: Twist = (_asked, pass) => pass()

export type Relay = {
  settings: S3Settings
  /** From now on; without one everything passes as it is. */
  twist: (twist?: Twist) => void
  close: () => void
}

/** Stands between a client and a real S3 service, and answers what the twist of the moment says. */
export async function startRelay(
  to: S3Settings & { endpoint: string; prefix: string },
): Promise<Relay> {
  let twist = asIs
  const server = createServer((request, response) => {
    void buffer(request)
      .then((body) => twist(askedOf(request, to), () => forward(request, body, to.endpoint)))
      .then(({ status, headers: { 'transfer-encoding': _chunked, ...headers }, body }) => {
        const length = request.method === 'HEAD' ? {} : { 'content-length': body.length }
        return response.writeHead(status, { ...headers, ...length }).end(body)
      })
      .catch(() => response.destroy())
  })
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done)
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    settings: { ...to, endpoint: `http://127.0.0.1:${port}` },
    twist: (next = asIs) => void (twist = next),
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

function askedOf(
  { method = '', url = '' }: IncomingMessage,
  { bucket, prefix }: { bucket: string; prefix: string },
): Asked {
  const { pathname, searchParams: query } = new URL(url, 'http://s3')
  const key = decodeURIComponent(pathname).replace(new RegExp(`^/${bucket}/?(${prefix}/)?`), '')
  return { method, key, query }
}

/** Headers as they are: the host's name is in what the client signed. */
function forward(
  { method, url, headers: { expect: _waiting, ...headers } }: IncomingMessage,
  body: Buffer,
  endpoint: string,
): Promise<Answer> {
  const { hostname, port } = new URL(endpoint)
  return new Promise((resolve, reject) => {
    askFor({ hostname, port, method, path: url, headers }, (answer) => {
      const status = answer.statusCode ?? 0
      buffer(answer).then(
        (bytes) => resolve({ status, headers: answer.headers, body: bytes }),
        reject,
      )
    })
      .once('error', reject)
      .end(body)
  })
}
