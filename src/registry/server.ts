import type { AddressInfo } from 'node:net'
import fastify, { type FastifyBaseLogger } from 'fastify'
import { registryRoutes, type RegistryDependencies } from './routes.ts'

export type Registry = { port: number; close(): Promise<void> }

/**
 * A registry of its own on loopback: the build process's endpoint, which shares the store and captures
 * the engine's push. `port` 0 takes a free one.
 */
export async function createRegistry({
  port = 0,
  logger,
  ...dependencies
}: RegistryDependencies & { port?: number; logger?: FastifyBaseLogger }): Promise<Registry> {
  const app = fastify({
    forceCloseConnections: true,
    // Every layer of every pull is a request: only refusals and failures are worth a line.
    ...(logger === undefined ? {} : { loggerInstance: logger, disableRequestLogging: true }),
  })
  await registryRoutes(app, dependencies)
  await app.listen({ host: '127.0.0.1', port })
  const address = app.server.address() as AddressInfo
  return { port: address.port, close: () => app.close() }
}
