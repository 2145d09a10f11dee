import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { configFault, secretFault } from '../../src/source/config.ts'
import { parseSpecification } from '../../src/source/specification.ts'

// Written in parts: nothing in this file is a secret, and nothing may look like one to a scanner.
const join = (...parts: string[]) => parts.join('')
const key = join('AK', 'IA', 'IOSFODNN7', 'EXAMPLE')

test.each([
  ['a PEM block', join('-----BEGIN ', 'RSA PRIVATE KEY-----')],
  ['an AWS key', key],
  ['an AWS key', `id=${key};region=eu`],
  ['a Google key', join('AI', 'za', 'SyA-0123456789abcdefghijklmnopqrstu')],
  ['an Azure key', join('DefaultEndpointsProtocol=https;Account', 'Key=abc')],
  ['a GitHub token', join('gh', 'p_', 'abcdefghijklmnopqrstuvwxyz0123456789')],
  ['a GitHub token', join('github', '_pat_', '11ABCDEFG0abcdefghijkl')],
  ['a GitLab token', join('gl', 'pat-', 'abcdefghij0123456789')],
  ['a Slack token', join('xo', 'xb-', '123-abc')],
  ['a Slack token', 'https://hooks.slack.com/services/T0/B0/x'],
  ['a Stripe key', join('sk', '_live_', 'abcdefghij0123')],
  ['a registry token', join('npm', '_', 'a'.repeat(36))],
  ['a JWT', join('ey', 'JhbGciOiJIUzI1NiJ9.', 'ey', 'JzdWIiOiIxIn0.c2ln')],
  ['an address with a password', 'postgres://app:hunter2@db.example/app'],
  ['an address with a password', 'redis://:hunter2@cache.example'],
  ['a connection string with a password', 'Server=db;User Id=sa;Password=hunter2;'],
  ['a connection string with a password', 'host=db user=app password=hunter2'],
  ['an address with a token', 'https://api.example/hook?token=abcdef123'],
  ['an Authorization header', 'Bearer abcdefgh.ijkl'],
  ['a random key', 'f3b8c1d09ae74c25a1b2c3d4e5f60718'],
  ['a random key', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzz8a1Q2w3'],
  ['a random key', 'prefix: kX9v2Lq8Zt4Rm7Wp3Ys6'],
])(
  'a value that looks like %s is refused by name, with the way out and without the value',
  (what, value) => {
    const fault = configFault('SETTING', value)
    expect(fault).toBe(
      `the value of SETTING looks like ${what}; write secrets: { SETTING: 'file:setting' } instead, ` +
        'and the app reads /run/secrets/SETTING',
    )
    expect(fault).not.toContain(value)
  },
)

test.each([
  'DB_PASSWORD',
  'PASSWORD',
  'PGPASS_PASS',
  'API_KEY',
  'APIKEY',
  'UPSTREAM_TOKEN',
  'TOKEN_A',
  'CLIENT_SECRET',
  'SIGNING_KEY',
  'SENTRY_DSN',
  'BASIC_AUTH',
])('a setting called %s is refused, with the way out', (name) => {
  expect(configFault(name, 'x')).toContain(`write secrets: { ${name}: 'file:`)
})

test.each([
  ['LOG_LEVEL', 'warn'],
  ['DB_PASSWORD_FILE', '/run/secrets/DB_PASSWORD'],
  ['TOKEN_TTL', '15m'],
  ['PASSWORD_MIN_LENGTH', '12'],
  ['PUBLIC_KEY_ID', 'main'],
  ['KEYBOARD', 'dvorak'],
  ['TZ', 'America/Argentina/Buenos_Aires'],
  ['BASE_URL', 'https://shop.example.test/api/v2/articles?order=newest'],
  ['UPSTREAM', 'postgres://db.internal.example:5432/application_database'],
  ['TENANT', '7b0f3c1e-52a4-4d4e-9d55-0c8f5a1b2c3d'],
  ['ACCEPT', 'application/vnd.example.article+json'],
  ['FEATURES', 'new-checkout,second-basket-2026,third_party_login'],
  ['USER_AGENT', 'HelloWorldServiceForTheShop/2.1 (+https://shop.example.test)'],
  ['SINCE', '2026-11-21T10:15:00.000Z'],
  ['HOSTS', 'cache-1.internal.example,cache-2.internal.example'],
  ['NUMBER', '12345678901234567890123456789'],
  ['PATTERN', '^/articles/[0-9]+$'],
])('%s=%s is a setting', (name, value) => {
  expect(configFault(name, value)).toBeUndefined()
})

test('of 32 bytes drawn at random, as a secret is made, at most one in two hundred passes', () => {
  const drawn = Array.from({ length: 1000 }, (_, at) =>
    createHash('sha256').update(`${at}`).digest(),
  )
  for (const form of ['hex', 'base64', 'base64url'] as const) {
    const passed = drawn
      .map((bytes) => bytes.toString(form))
      .filter((value) => configFault('SETTING', value) === undefined)
    expect([form, passed.length]).toEqual([form, expect.toSatisfy((count: number) => count <= 5)])
  }
})

test('names of images, commits and digests are keys to the eye as well: they have the same way out', () => {
  const digest = createHash('sha256').update('x').digest('hex')
  expect(configFault('RELEASE', digest)).toContain('looks like a random key')
})

test.each([
  ['DB_PASSWORD', 'file:db-password'],
  ['DB_PASSWORD', 'file:shop.prod.db-password'],
  ['_A1', 'env:UPSTREAM_TOKEN'],
])('%s: %s is a reference', (name, reference) => {
  expect(secretFault(name, reference)).toBeUndefined()
})

test.each([
  ['DB_PASSWORD', 'hunter2'],
  ['DB_PASSWORD', 'file:'],
  ['DB_PASSWORD', 'file:../../etc/shadow'],
  ['DB_PASSWORD', 'file:/etc/shadow'],
  ['DB_PASSWORD', 'file:.hidden'],
  ['DB_PASSWORD', 'file:a..b'],
  ['DB_PASSWORD', 'file:a/b'],
  ['DB_PASSWORD', 'env:lower'],
  ['DB_PASSWORD', 'env:A B'],
  ['DB_PASSWORD', 'vault:a'],
  ['DB_PASSWORD', `file:${'a'.repeat(101)}`],
  ['db-password', 'file:a'],
  ['../X', 'file:a'],
  ['lower', 'file:a'],
])('%s: %s is refused, and not repeated', (name, reference) => {
  const fault = secretFault(name, reference)
  expect(fault).toMatch(/no reference: write file:<name> or env:<NAME>|is not a name/)
  expect(fault?.replace('file:<name> or env:<NAME>', '')).not.toContain(reference || ' : ')
})

const dev = 'version: 1\napp: hello\ntemplate: node-service\nenvironments:\n  - name: dev\n'

function refusalOf(text: string): KilnError {
  try {
    parseSpecification(Buffer.from(text))
  } catch (error) {
    if (error instanceof KilnError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('in kiln.yaml', () => {
  test('references are part of the definition; none is the definition of before', () => {
    const text = `${dev}    secrets: { DB_PASSWORD: 'file:db', TOKEN: 'env:TOKEN' }\n`
    const [one] = parseSpecification(Buffer.from(text)).environments
    expect(one?.definition.secrets).toEqual({ DB_PASSWORD: 'file:db', TOKEN: 'env:TOKEN' })
    for (const none of [dev, `${dev}    secrets: {}\n`]) {
      const [plain] = parseSpecification(Buffer.from(none)).environments
      expect(Object.keys(plain?.definition ?? {})).not.toContain('secrets')
    }
  })

  test.each([
    `${dev}    secrets: { DB_PASSWORD: hunter2-hunter2 }\n`,
    `${dev}    secrets: { DB_PASSWORD: [hunter2-hunter2] }\n`,
    `${dev}    config: { DB_PASSWORD: hunter2-hunter2 }\n`,
    `${dev}    config:\n      URL: postgres://app:hunter2-hunter2@db/app\n`,
  ])('a secret that stands there is refused and shown nowhere: %j', (text) => {
    const { code, message, lines, place, fix } = refusalOf(text)
    expect(code).toBe('invalid_yaml')
    expect(JSON.stringify({ message, lines, place, fix })).not.toContain('hunter2')
  })

  test('more secrets than an instance may have are refused', () => {
    const many = Array.from({ length: 33 }, (_, at) => `      S${at}: file:s${at}`).join('\n')
    expect(refusalOf(`${dev}    secrets:\n${many}\n`).message).toContain('more than 32')
  })

  test.each([
    ['volumes', 'volumes: [data:/data]', 'Keep state outside: a database or an object store'],
    ['mounts', 'mounts: []', 'Keep state outside'],
    ['hostPath', 'hostPath: /srv', 'Keep state outside'],
    ['privileged', 'privileged: true', 'no rights on its host'],
    ['cap_add', 'cap_add: [NET_ADMIN]', 'no rights on its host'],
    ['ports', "ports: ['8080:80']", 'nothing of an instance is published'],
    ['hostNetwork', 'hostNetwork: true', 'nothing of an instance is published'],
    ['command', 'command: [sh]', 'it is part of the artifact'],
    ['env', 'env: { A: b }', 'write config'],
    ['replicas', 'replicas: 3', 'write instances'],
  ])('%s is refused with the reason and what to do instead', (key_, line, why) => {
    const error = refusalOf(`${dev}    ${line}\n`)
    expect(error).toMatchObject({ code: 'invalid_yaml', place: 'kiln.yaml:6:5' })
    expect(error.message).toContain(`${key_} is refused: `)
    expect(error.message).toContain(why)
  })
})
