import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import type { Endpoint } from '../../src/domain/effect.ts'

export type NamedService = {
  endpoint: Endpoint
  server: Server
  /** What it was asked for, as it came. */
  seen: string[]
  close: () => void
}

/**
 * A service in this process that answers every page with its name, `/ready` with 200, and a POST as the
 * load client wants it.
 */
export async function namedService(name: string): Promise<NamedService> {
  const seen: string[] = []
  const server = createServer((request, response) => {
    if (request.url === '/ready' && request.headers.host === 'kiln') return response.end('ready')
    seen.push(request.url ?? '')
    if (request.method !== 'POST') return response.end(name)
    request.resume().once('end', () => response.end(name))
    return undefined
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    endpoint: { name, id: name, address: '127.0.0.1', port },
    server,
    seen,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

export type RawAnswer = { status: number; body: string; headers: string }

/** Sends bytes as they are, which no HTTP client would, and reads the whole answer. */
export function sendRaw(port: number, head: string): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (part: string) => (text += part))
    socket.on('error', reject)
    socket.on('close', () => {
      const [headers = '', ...body] = text.split('\r\n\r\n')
      resolve({ status: Number(headers.slice(9, 12)), body: body.join(''), headers })
    })
    socket.write(`${head}\r\nConnection: close\r\n\r\n`)
  })
}
