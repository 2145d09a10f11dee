import { createHash, timingSafeEqual } from 'node:crypto'
import { KilnError } from '../domain/error.ts'
import type { Principal } from '../domain/statement.ts'

/** Finds out who asks, from an Authorization header; throws `unauthenticated`. What they may do is not asked here. */
export type Authenticate = (header: string | undefined) => Principal

/**
 * One bearer token. Only its hash stays in memory; hashes of equal length are compared in constant
 * time, so neither the time nor a memory dump tells the token.
 */
export function bearerToken(token: { name: string; secret: string }): Authenticate {
  if (token.secret.length < 32) {
    throw new KilnError('invalid_input', 'the API token must have at least 32 characters')
  }
  const expected = sha256(token.secret)
  const principal: Principal = { name: token.name, kind: 'token' }
  return (header) => {
    const given = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(header ?? '')?.[1]
    if (given === undefined || !timingSafeEqual(sha256(given), expected)) {
      throw new KilnError('unauthenticated', 'this needs the API token', {
        fix: "send 'Authorization: Bearer <token>'; the token is in the file `token` of Kiln's state folder",
      })
    }
    return principal
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
