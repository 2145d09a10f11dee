import { connect, createServer, type Socket } from 'node:net'

/**
 * Stands in front of a TCP server (Temporal, an object store). A drop lets everything through to the
 * server while it swallows what the server answers, for a while, and then cuts every connection: what
 * was asked has happened, and nobody has heard of it.
 */
export type TcpProxy = {
  port: number
  drop: (forMs: number) => Promise<void>
  /** How many bytes of answers were swallowed. */
  swallowed: () => number
  close: () => Promise<void>
}

/** `at`: the port that it listens at; one that is free without it. */
export async function startTcpProxy(to: { host: string; port: number }, at = 0): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  let dropping = false
  let swallowed = 0
  const server = createServer((client) => {
    const upstream = connect(to)
    const pair = [client, upstream] as const
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      client.destroy()
      upstream.destroy()
    }
    client.pipe(upstream)
    upstream.on('data', (bytes) => {
      if (dropping) swallowed += bytes.length
      else if (!client.write(bytes)) {
        upstream.pause()
        client.once('drain', () => upstream.resume())
      }
    })
    for (const socket of pair) socket.on('error', end).on('close', end)
  })
  await new Promise<void>((resolve) => {
    server.listen(at, '127.0.0.1', resolve)
  })
  const address = server.address()
  const cut = () => {
    for (const [client] of pairs) client.destroy()
  }
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async drop(forMs) {
      dropping = true
      await new Promise((resolve) => setTimeout(resolve, forMs))
      cut()
      dropping = false
    },
    swallowed: () => swallowed,
    async close() {
      cut()
      await new Promise((resolve) => {
        server.close(resolve)
      })
    },
  }
}
