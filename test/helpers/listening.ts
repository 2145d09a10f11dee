import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
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

/** Resolves once a program answers there, whatever it says; `demandAlive` throws when it has ended. */
export async function answering(url: string, demandAlive: () => void): Promise<void> {
  const end = Date.now() + 60_000
  while (Date.now() < end) {
    demandAlive()
    const answer = await fetch(url).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer !== undefined) return
    await pause(50)
  }
  throw new Error(`nobody answers at ${url}`)
}
