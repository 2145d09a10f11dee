import { createServer, request as ask } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Paths of the referrers API, which registries of before OCI 1.1 do not have. */
export const referrersApi = /\/referrers\//

/** A registry on this machine that passes on what it is asked to another one, and has nothing under some paths. */
export async function registryWithout(paths: RegExp, behind: number) {
  const asked: string[] = []
  const server = createServer((incoming, answer) => {
    const { url = '/', method, headers } = incoming
    asked.push(url)
    if (paths.test(url)) return void answer.writeHead(404).end()
    const upstream = ask(
      { host: '127.0.0.1', port: behind, path: url, method, headers },
      (found) => {
        answer.writeHead(found.statusCode ?? 502, found.headers)
        found.pipe(answer)
      },
    )
    upstream.on('error', () => answer.destroy())
    upstream.end()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    /** Every path that it was asked for. */
    asked: asked as readonly string[],
    async close() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}
