import { createHash, timingSafeEqual } from 'node:crypto'
import { verify } from '@octokit/webhooks-methods'
import type { Forge } from './forge.ts'
import type { Headers } from './headers.ts'
import {
  isSigningToken,
  saysItIsSigned,
  standardVerdict,
  type Verdict,
} from './standard-webhook.ts'

const hexForm = /^[0-9a-f]{64}$/
const hubForm = /^sha256=([0-9a-f]{64})$/

type Signed = { headers: Headers; body: string; secret: string }

/**
 * Whether the body's exact bytes, as text, were signed with the secret (GitLab, with a secret token:
 * whether the secret came with it). Every signature that is given must fit, and one must be. Compared in
 * constant time. `stale` is only said of what was signed with the secret.
 */
export async function signatureOf(
  forge: Forge,
  { now, ...signed }: Signed & { now: Date },
): Promise<Verdict> {
  const { headers, secret, body } = signed
  if (secret === '' || body === '') return 'not-signed'
  if (forge === 'gitlab' && (saysItIsSigned(headers) || isSigningToken(secret)))
    return standardVerdict({ ...signed, now })
  return (await isSigned(forge, signed)) ? 'signed' : 'not-signed'
}

async function isSigned(forge: Forge, { headers, body, secret }: Signed): Promise<boolean> {
  switch (forge) {
    case 'gitlab':
      return isSameText(textOf(headers['x-gitlab-token']), secret)
    case 'github':
      return fits(hubForm.exec(textOf(headers['x-hub-signature-256']))?.[1], body, secret)
    case 'gitea':
      return isSignedByGitea(headers, body, secret)
  }
}

/** Gitea sends the same signature under its own name and under GitHub's. */
async function isSignedByGitea(headers: Headers, body: string, secret: string): Promise<boolean> {
  const given = [
    [headers['x-gitea-signature'], (text: string) => hexForm.exec(text)?.[0]],
    [headers['x-hub-signature-256'], (text: string) => hubForm.exec(text)?.[1]],
  ] as const
  const present = given.filter(([header]) => header !== undefined)
  const verdicts = await Promise.all(
    present.map(([header, read]) => fits(read(textOf(header)), body, secret)),
  )
  return verdicts.length > 0 && verdicts.every(Boolean)
}

async function fits(hex: string | undefined, body: string, secret: string): Promise<boolean> {
  return hex !== undefined && (await verify(secret, body, `sha256=${hex}`))
}

function textOf(header: Headers[string]): string {
  return typeof header === 'string' ? header : ''
}

/** By their hashes, so that neither the time nor the length tells anything. */
function isSameText(given: string, wanted: string): boolean {
  return timingSafeEqual(sha256(given), sha256(wanted)) && given !== ''
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
