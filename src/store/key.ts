import { KilnError } from '../domain/error.ts'

const part = /^[A-Za-z0-9._:@-]{1,200}$/

/** Names that the store keeps for itself; no key may begin with them. */
const reserved = new Set(['head', 'tmp', 'owner.lock'])

/** Refuses keys that could leave the store, or touch what is not an object. Limit: 900 characters. */
export function checkKey(key: string): void {
  const parts = key.split('/')
  const bad =
    key.length > 900 ||
    parts.some((name) => !part.test(name) || name === '.' || name === '..') ||
    reserved.has(parts[0] ?? '')
  if (bad) throw new KilnError('invalid_input', `not a key: ${JSON.stringify(key).slice(0, 100)}`)
}

/** A prefix is a key with `/` at its end, so that `a/` never lists what is below `ab/`. */
export function checkPrefix(prefix: string): void {
  if (!prefix.endsWith('/')) {
    throw new KilnError('invalid_input', `a prefix ends in /: ${JSON.stringify(prefix)}`)
  }
  checkKey(prefix.slice(0, -1))
}

export function otherBytes(key: string): KilnError {
  return new KilnError('digest_mismatch', `${key} already holds other bytes`, { place: key })
}
