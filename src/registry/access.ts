import { createHash, timingSafeEqual } from 'node:crypto'
import type { Digest } from '../domain/digest.ts'

/**
 * Who pulls. `reader`: a person's or server's token, may read all. `build`: the build process, may
 * read all and push into the capture. `host`: only what is admissible somewhere now.
 */
export type RegistryPrincipal = {
  kind: 'reader' | 'host' | 'build'
  /** What a token is good for; a password is for all. */
  repositories?: readonly string[]
}

/** Reads the Authorization header; null when it proves nothing. */
export type Access = (authorization: string | undefined) => Promise<RegistryPrincipal | null>

/** Which manifests any environment may start now: the ledger's answer, asked anew for each request. */
export type Admissible = () => Promise<(digest: Digest) => boolean>

export type Credential = { kind: RegistryPrincipal['kind']; username: string; password: string }

/**
 * Basic credentials, or a password alone as a bearer token. Every credential is compared, each in
 * constant time, so that the time taken says nothing of which one came near.
 */
export function credentialAccess(credentials: readonly Credential[]): Access {
  return async (authorization) => {
    const [scheme = '', value = ''] = (authorization ?? '').split(' ')
    const given = offered(scheme.toLowerCase(), value)
    if (given === null) return null
    const matching = credentials.filter((one) => {
      const password = same(given.password, one.password)
      const username = given.username === null || same(given.username, one.username)
      return password && username
    })
    const [found] = matching
    return found === undefined ? null : { kind: found.kind }
  }
}

function offered(
  scheme: string,
  value: string,
): { username: string | null; password: string } | null {
  if (scheme === 'bearer' && value !== '') return { username: null, password: value }
  if (scheme !== 'basic') return null
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0 || colon === text.length - 1) return null
  return { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

function same(left: string, right: string): boolean {
  return timingSafeEqual(hash(left), hash(right))
}

function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
