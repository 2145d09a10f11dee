import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** The address of a server that listens on loopback until the test ends. */
export async function listening(server: Server, port = 0): Promise<string> {
  await new Promise<void>((done) => {
    server.listen(port, '127.0.0.1', done)
  })
  onTestFinished(() => {
    server.close().closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
