import type { AddressInfo, Server } from 'node:net'
import fastify, { type FastifyBaseLogger } from 'fastify'
import { createTokens } from './tokens.ts'
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
  const app = fastify({ forceCloseConnections: true, ...logged(logger) })
  await registryRoutes(app, dependencies)
  await app.listen({ host: '127.0.0.1', port })
  const address = app.server.address() as AddressInfo
  return { port: address.port, close: () => app.close() }
}

/** Every layer of every pull is a request: only refusals and failures are worth a line. */
function logged(logger: FastifyBaseLogger | undefined) {
  return logger === undefined ? {} : { loggerInstance: logger, disableRequestLogging: true }
}

export type OpenRegistry = Registry & {
  /** Another certificate, for connections that are made from now on. */
  renew(pem: string): void
}

/**
 * The registry for other hosts: over TLS alone, with tokens, and nothing is pushed. `address` is where it
 * listens, `name` the host of its certificate; `pem` has the certificate, its chain and the key.
 */
export async function createOpenRegistry({
  address,
  name,
  pem,
  logger,
  ...dependencies
}: Omit<RegistryDependencies, 'capture' | 'tokens'> & {
  address: { host: string; port: number }
  name: string
  pem: string
  logger?: FastifyBaseLogger
}): Promise<OpenRegistry> {
  const tls = { cert: pem, key: pem, minVersion: 'TLSv1.2' } as const
  const app = fastify({ https: tls, forceCloseConnections: true, ...logged(logger) })
  const tokens = createTokens({
    name: () => `${name}:${portOf(app)}`,
    passwords: dependencies.access,
  })
  await registryRoutes(app, { ...dependencies, access: tokens.access, tokens })
  await app.listen(address)
  return {
    port: portOf(app),
    renew: (next) => app.server.setSecureContext({ ...tls, cert: next, key: next }),
    close: () => app.close(),
  }
}

function portOf({ server }: { server: Server }): number {
  return (server.address() as AddressInfo).port
}
