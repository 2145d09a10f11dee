import { lookup } from 'node:dns/promises'
import { KilnError } from '../domain/error.ts'
import { isPublicAddress } from './host.ts'
import type { Repository } from './repository.ts'

/** Looks a host name up: every address it has. */
export type Lookup = (host: string) => Promise<readonly string[]>

export const systemLookup: Lookup = async (host) => {
  const found = await lookup(host, { all: true })
  return found.map(({ address }) => address)
}

/**
 * Looks the host up once and answers with the address to connect to, so that a name which changes its
 * mind afterwards reaches nothing else. Null for what is not looked up: files, hosts that the
 * configuration names, and everything behind a proxy, which looks names up itself. Throws
 * `invalid_repository` when the name leads to an address that is not public.
 */
export async function connectAddress(
  repository: Repository,
  { resolve, proxied }: { resolve: Lookup; proxied: boolean },
): Promise<string | null> {
  if (repository.kind === 'file' || repository.named) return null
  if (repository.kind === 'https' && proxied) return null
  const host = repository.host.replace(/^\[|\]$/g, '')
  const addresses = await resolve(host).catch((cause: unknown) => {
    throw new KilnError('repository_unavailable', `${host} cannot be looked up`, {
      cause,
      place: repository.url,
    })
  })
  const inner = addresses.find((address) => !isPublicAddress(address))
  if (inner !== undefined) {
    throw new KilnError('invalid_repository', `${host} leads to ${inner}, which is not public`, {
      place: repository.url,
      fix: 'name the host in the configuration if it is your own git server',
    })
  }
  const [first] = addresses
  if (first === undefined) {
    throw new KilnError('repository_unavailable', `${host} has no address`, {
      place: repository.url,
    })
  }
  return first
}
