import crypto from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bearerToken } from '../../src/api/auth.ts'
import { credentialAccess } from '../../src/registry/access.ts'
import type { Forge } from '../../src/source/forge.ts'
import { signatureOf } from '../../src/source/webhook-signature.ts'

/**
 * What is shown as a secret is compared by crypto.timingSafeEqual alone, over as many bytes whatever was
 * shown. No time is measured: it is looked at what is compared.
 */

const src = resolve(import.meta.dirname, '../../src')
const real = crypto.timingSafeEqual
/** How many bytes were compared with how many, for each call. */
const compared: [number, number][] = []

beforeAll(() => {
  crypto.timingSafeEqual = (left, right) => {
    compared.push([left.byteLength, right.byteLength])
    return real(left, right)
  }
  syncBuiltinESMExports()
})
beforeEach(() => void compared.splice(0))
afterAll(() => {
  crypto.timingSafeEqual = real
  syncBuiltinESMExports()
})

const secret = 'Kn7-the-one-secret-of-this-test-0123456789'
const given = {
  right: secret,
  'other at its end': `${secret.slice(0, -1)}x`,
  'other at its start': `x${secret.slice(1)}`,
  short: 's',
  'its beginning': secret.slice(0, 20),
  'longer, and begins with it': `${secret}more`,
  long: 'l'.repeat(512),
}

const hmac = (key: string | Buffer, text: string, form: 'hex' | 'base64') =>
  crypto.createHmac('sha256', key).update(text).digest(form)
const basic = (user: string, password: string) => `Basic ${btoa(`${user}:${password}`)}`
const access = credentialAccess([
  { kind: 'host', username: 'host', password: secret },
  { kind: 'reader', username: 'reader', password: 'another-password-of-this-test' },
])

const body = '{"ref":"refs/heads/main"}'
const now = new Date('2026-11-28T12:00:00Z')
const seconds = String(now.getTime() / 1000)
const standard = (key: string) => `whsec_${Buffer.from(key.padEnd(32, '=')).toString('base64')}`

async function isSigned(
  forge: Forge,
  headers: Readonly<Record<string, string>>,
  key = secret,
): Promise<boolean> {
  return (await signatureOf(forge, { headers, body, secret: key, now })) === 'signed'
}

/** Whether it is let in; `comparisons`: how many are made, whatever is shown. */
const doors: [string, { comparisons: number; opens: (shown: string) => Promise<boolean> }][] = [
  [
    'the API',
    {
      comparisons: 1,
      async opens(shown) {
        const authenticate = bearerToken({ name: 'person', secret })
        try {
          return authenticate(`Bearer ${shown}`).name === 'person'
        } catch {
          return false
        }
      },
    },
  ],
  [
    'the registry, with a name',
    { comparisons: 4, opens: async (shown) => (await access(basic('host', shown))) !== null },
  ],
  [
    'the registry, as a bearer',
    { comparisons: 2, opens: async (shown) => (await access(`Bearer ${shown}`)) !== null },
  ],
  [
    "GitHub's webhooks",
    {
      comparisons: 1,
      opens: (shown) =>
        isSigned('github', { 'x-hub-signature-256': `sha256=${hmac(shown, body, 'hex')}` }),
    },
  ],
  [
    "Gitea's webhooks",
    {
      comparisons: 1,
      opens: (shown) => isSigned('gitea', { 'x-gitea-signature': hmac(shown, body, 'hex') }),
    },
  ],
  [
    "GitLab's webhooks, with a token",
    { comparisons: 1, opens: (shown) => isSigned('gitlab', { 'x-gitlab-token': shown }) },
  ],
  [
    "GitLab's webhooks, signed",
    {
      comparisons: 1,
      opens: (shown) => {
        const key = Buffer.from(standard(shown).slice('whsec_'.length), 'base64')
        const signature = `v1,${hmac(key, `id.${seconds}.${body}`, 'base64')}`
        const headers = { 'webhook-id': 'id', 'webhook-timestamp': seconds }
        return isSigned('gitlab', { ...headers, 'webhook-signature': signature }, standard(secret))
      },
    },
  ],
]

describe.each(doors)('%s', (_name, { comparisons, opens }) => {
  test.each(Object.entries(given))('%s: as much is compared', async (what, shown) => {
    expect(await opens(shown)).toBe(what === 'right')
    expect(compared).toHaveLength(comparisons)
    for (const [left, right] of compared) expect(left).toBe(right)
    expect(new Set(compared.map(([length]) => length)).size).toBe(1)
  })
})

/** Sources below a folder, by their path in it. */
function sources(folder: string): [string, string][] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => [name, readFileSync(join(folder, name), 'utf8')])
}

/** Tokens are JWTs: jose has them checked by the engine's own crypto, which compares in constant time. */
const byLibrary = 'registry/tokens.ts'

/** Compare nothing with a secret. */
const harmless = [
  'registry/access.ts: if (colon < 0 || colon === text.length - 1) return null',
  "registry/access.ts: const colon = text.indexOf(':')",
  'source/standard-webhook.ts: return secret.startsWith(prefix)',
]

test('where secrets are compared nothing is compared with === but with what is written there', () => {
  const judges = sources(src).filter(
    ([name, text]) => text.includes('timingSafeEqual') || name === byLibrary,
  )
  expect(judges.map(([name]) => name).toSorted()).toEqual([
    'api/auth.ts',
    'registry/access.ts',
    'registry/tokens.ts',
    'source/standard-webhook.ts',
    'source/webhook-signature.ts',
  ])
  const found = judges.flatMap(([name, text]) =>
    comparisonsIn(text).map((one) => `${name}: ${one}`),
  )
  expect(found.toSorted()).toEqual(harmless.toSorted())
})

test.each([
  ['if (given === wanted) return', 1],
  ['return hash(given) !== expected', 1],
  ["return secret === ''", 0],
  ['return forge === undefined || text.length === 1 || null !== found', 0],
  ['return Buffer.compare(given, wanted) === 0', 1],
  ['return given.equals(wanted)', 1],
  ['return wanted.startsWith(given)', 1],
])('%s: %i comparisons are refused', (line, refused) => {
  expect(comparisonsIn(line)).toHaveLength(refused)
})

/** Lines that compare two values of which neither is written there, or compare by a method. */
function comparisonsIn(text: string): string[] {
  const literal = String.raw`(?:'[^']*'|\d+(?!\w)|undefined|null|true|false)`
  const known = new RegExp(String.raw`[!=]==\s*${literal}|${literal}\s*[!=]==`, 'g')
  const compares =
    /[!=]==|\.(?:equals|compare|localeCompare|startsWith|endsWith|includes|indexOf)\(/
  return text
    .split('\n')
    .filter((line) => compares.test(line.replaceAll(known, ' ')))
    .map((line) => line.trim())
}
