import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Headers } from './headers.ts'

/** How far a signed time may lie from now, either way; longer ago it may be a replay of what was forgotten. */
export const toleranceMs = 5 * 60_000

/** `stale`: signed with this secret, at another time. */
export type Verdict = 'signed' | 'stale' | 'not-signed'

const prefix = 'whsec_'
const keyForm = /^[A-Za-z0-9+/]{32,128}={0,2}$/
const idForm = /^[\x21-\x7e]{1,256}$/
/** Whole seconds since 1970. */
const timeForm = /^[1-9][0-9]{0,11}$/
const signatureForm = /^v1,([A-Za-z0-9+/]{43}=)$/
const mostSignatures = 10

/** A secret of this form only signs: it is never taken as a token that comes with the body. */
export function isSigningToken(secret: string): boolean {
  return secret.startsWith(prefix)
}

/** Whether the sender says that the body is signed in this form. */
export function saysItIsSigned(headers: Headers): boolean {
  return ['webhook-signature', 'webhook-timestamp'].some((name) => headers[name] !== undefined)
}

/**
 * The form of Standard Webhooks, which GitLab's signing tokens use: HMAC-SHA256 over `<id>.<time>.<body>`,
 * compared in constant time. A key that is turned over may sign beside the old one: one must fit.
 */
export function standardVerdict({
  headers,
  body,
  secret,
  now,
}: {
  headers: Headers
  body: string
  secret: string
  now: Date
}): Verdict {
  const [id, time] = [headers['webhook-id'], headers['webhook-timestamp']]
  const key = keyOf(secret)
  if (typeof id !== 'string' || typeof time !== 'string' || key === undefined) return 'not-signed'
  if (!idForm.test(id) || !timeForm.test(time)) return 'not-signed'
  const wanted = createHmac('sha256', key).update(`${id}.${time}.${body}`).digest()
  const given = signaturesIn(headers['webhook-signature'])
  // All are compared, so that the time says nothing of which one fits.
  const fitting = given.filter((one) => timingSafeEqual(one, wanted))
  if (fitting.length === 0) return 'not-signed'
  return Math.abs(now.getTime() - Number(time) * 1000) <= toleranceMs ? 'signed' : 'stale'
}

function keyOf(secret: string): Buffer | undefined {
  if (!isSigningToken(secret)) return undefined
  const text = secret.slice(prefix.length)
  return keyForm.test(text) ? Buffer.from(text, 'base64') : undefined
}

/** What has another version or another form counts for nothing. */
function signaturesIn(header: Headers[string]): Buffer[] {
  if (typeof header !== 'string') return []
  const parts = header.split(' ').slice(0, mostSignatures)
  return parts.flatMap((part) => {
    const [, encoded] = signatureForm.exec(part) ?? []
    return encoded === undefined ? [] : [Buffer.from(encoded, 'base64')]
  })
}
