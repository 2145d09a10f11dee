import { execa } from 'execa'
import { randomBytes, verify } from 'node:crypto'
import { createServer, request as httpRequest } from 'node:http'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { inspect } from 'node:util'
import { pino } from 'pino'
import { DisableKeyCommand } from '@aws-sdk/client-kms'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { bundleBytes } from '../../signing/bundle.ts'
import { canonicalJson, digestOf } from '../../signing/canonical.ts'
import {
  demandKeysOf,
  encryptKeys,
  inTheClear,
  readSigningKey,
  type KeyAccess,
} from '../../signing/keys.ts'
import { openKms } from '../../signing/kms-key.ts'
import { isP256, publicKeyOf } from '../../signing/public-key.ts'
import { signerClient } from '../../signing/signer-client.ts'
import { openSigner } from '../../signing/signer.ts'
import { startSigner } from '../../signing/signer-server.ts'
import type { KeyPlace } from '../../signing/signing-key.ts'
import { buildStatement } from '../../signing/statements.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { checkSigningKeys } from '../../src/main/doctor/signing-keys.ts'
import { pathsOf } from '../../src/main/paths.ts'
import { cosignBlob } from '../helpers/cosign-blob.ts'
import { freePort } from '../helpers/free-port.ts'
import { listening } from '../helpers/listening.ts'
import { kmsAtHand, kmsCredentials, type KmsAtHand } from '../helpers/kms-at-hand.ts'
import { signedFolder } from '../helpers/signed-folder.ts'
import { memoryKeys, signedLog } from '../helpers/signed-log.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from './examples.ts'

// One contract, wherever the private half of a signing key is.

let kms: KmsAtHand
beforeAll(async () => {
  kms = await kmsAtHand()
}, 90_000)
afterAll(() => kms.stop())

const passphrase = `passphrase-canary-${randomBytes(16).toString('hex')}`
const lock = async () => ({ release: () => {} })
const now = () => new Date()

/** A place of private halves: how keys there are opened, and which key in KMS the role under test is given. */
type Adapter = {
  name: string
  place: KeyPlace['kind']
  access: () => KeyAccess
  arn: () => Promise<string | null>
  /** What the doctor looks at. */
  checks: [name: string, state: 'ok'][]
  /** The key's file as somebody left it who spoiled it. */
  spoil: (content: string) => string
}
const withKms = (words: string | null): KeyAccess => ({
  passphrase: words,
  kms: async () => openKms(kms.settings),
})
const adapters: Adapter[] = [
  {
    name: 'a plain PEM file',
    place: 'file',
    access: () => withKms(null),
    arn: async () => null,
    checks: [],
    spoil: (content) => content.replace(/[A-Za-z0-9]{20}/, 'spoilt-canary'),
  },
  {
    name: 'an encrypted PEM file',
    place: 'encrypted-file',
    access: () => withKms(passphrase),
    arn: async () => null,
    checks: [['passphrase of the signing keys', 'ok']],
    spoil: (content) => content.replace(/[A-Za-z0-9]{20}/, 'spoilt-canary'),
  },
  {
    name: "AWS's KMS",
    place: 'kms',
    access: () => withKms(null),
    arn: () => kms.make(),
    checks: [['signing key build', 'ok']],
    spoil: (content) => content.replace('BEGIN PUBLIC', 'spoilt-canary'),
  },
]

/** Folder and log whose build key is where the adapter has it. */
async function worldOf(adapter: Adapter, root: string) {
  const world = await signedFolder(root, { access: adapter.access() })
  const arn = await adapter.arn()
  if (arn !== null) await world.rotate('build', arn)
  const file = join(root, 'keys', 'build.pem')
  return { ...world, root, arn, file, open: () => readSigningKey(file, adapter.access()) }
}

const settingsOf = (root: string, signingPassphraseFile?: string) => ({
  paths: { ...pathsOf(root), keys: join(root, 'keys') },
  kmsEndpoint: kms.settings.endpoint,
  signingPassphraseFile,
})

async function failureOf(run: Promise<unknown>): Promise<unknown> {
  return run.then(
    () => undefined,
    (caught: unknown) => caught,
  )
}

const shownOf = (thing: unknown) =>
  `${inspect(thing, { depth: 20 })} ${JSON.stringify(thing)} ${String(thing)}`

describe.each(adapters)('a signing key in $name', (adapter) => {
  let world: Awaited<ReturnType<typeof worldOf>>
  beforeAll(async () => {
    const root = mkdtempSync(join(tmpdir(), 'kiln-signing-key-'))
    world = await worldOf(adapter, root)
    return () => rmSync(root, { recursive: true, force: true })
  })

  test('is a P-256 key, the same each time that it is opened, and says where it is', async () => {
    const [one, two] = [await world.open(), await world.open()]
    expect(isP256(publicKeyOf(one.publicKey))).toBe(true)
    expect(Buffer.from(two.publicKey)).toEqual(Buffer.from(one.publicKey))
    expect(one.place.kind).toBe(adapter.place)
    const signing = (await world.list()).findLast(({ role }) => role === 'build')
    expect(signing).toMatchObject({ to: null, place: one.place })
    expect('arn' in one.place ? one.place.arn : null).toBe(world.arn)
  })

  test.each([0, 1, 4096, 200_000])('signs %i bytes, and no others', async (length) => {
    const key = await world.open()
    const bytes = Buffer.alloc(length, 7)
    const signature = await key.sign(bytes)
    const half = publicKeyOf(key.publicKey)
    expect(verify('sha256', bytes, half, signature)).toBe(true)
    expect(verify('sha256', Buffer.alloc(length + 1, 7), half, signature)).toBe(false)
  })

  test('signs the same twice: two signatures, and both verify', async () => {
    const key = await world.open()
    const bytes = Buffer.from('the same')
    const [one, two] = [await key.sign(bytes), await key.sign(bytes)]
    expect(Buffer.from(one)).not.toEqual(Buffer.from(two))
    for (const signature of [one, two])
      expect(verify('sha256', bytes, publicKeyOf(key.publicKey), signature)).toBe(true)
  })

  test('signs many at once, each its own', async () => {
    const key = await world.open()
    const all = Array.from({ length: 12 }, (_, n) => Buffer.from(`statement ${n}`))
    const signatures = await Promise.all(all.map((bytes) => key.sign(bytes)))
    const half = publicKeyOf(key.publicKey)
    for (const [n, signature] of signatures.entries())
      expect(verify('sha256', all[n]!, half, signature)).toBe(true)
  })

  test('signs a provisioning key that Kiln and the real cosign believe', async () => {
    const folder = scratch()
    const artifact = canonicalJson({ adapter: adapter.place })
    await writeFile(join(folder, 'artifact'), artifact)
    const keys = memoryKeys()
    const promote = await world.open()
    const log = signedLog('kiln.local', { ...keys, roles: { ...keys.roles, promote } })
    const { body, ...rest } = example('key')
    const subject = digestOf(artifact)
    const bundle = await log.add({ ...rest, body: { ...body, digest: subject } })
    expect(verifyBundle(bundle, log.trust, { kind: 'key', subject }).role).toBe('promote')
    await writeTrust(join(folder, 'trust'), log.trust)
    const { exitCode, stderr } = await cosignBlob(folder, bundleBytes(bundle))
    expect(stderr).toContain('Verified OK')
    expect(exitCode).toBe(0)
  })

  test('says nothing but what its role may say, and is believed in no other', async () => {
    const signer = await openSigner({
      directory: join(world.root, 'keys'),
      origin: 'kiln.local',
      access: adapter.access(),
      lock,
      now,
    })
    const statement = buildStatement(example('key'), 'kiln.local')
    const asked = signer.sign({ kind: 'sbom', statement })
    await expect(asked).rejects.toMatchObject({ code: 'refused' })
    const own = await world.open()
    const keys = memoryKeys()
    const log = signedLog('kiln.local', { ...keys, roles: { ...keys.roles, build: own } })
    const foreign = await log.add(example('key'), own)
    expect(() => verifyBundle(foreign, log.trust, { kind: 'key' })).toThrow(/role/)
  })

  test('was killed between the signature and its being told: asked again there is one decision', async () => {
    const root = scratch()
    await worldOf(adapter, root)
    const script = resolve(import.meta.dirname, 'sign-process.ts')
    const words = adapter.access().passphrase ?? ''
    const killed = await execa(process.execPath, [script, root, words, kms.settings.endpoint], {
      reject: false,
      env: {
        AWS_ACCESS_KEY_ID: kmsCredentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: kmsCredentials.secretAccessKey,
      },
    })
    expect([killed.signal, killed.stderr]).toEqual(['SIGKILL', ''])
    const again = await signedFolder(root, { access: adapter.access() })
    await again.decide('d')
    await again.decide('d')
    expect(again.ledger.facts().filter(({ kind }) => kind === 'sbom')).toHaveLength(1)
    expect(await again.problems()).toEqual([])
  })

  // From file to file of the same kind: test/main/rotation.test.ts.
  const followers = adapters.filter((next) => next !== adapter || next.place === 'kms')
  test.each(followers)(
    'is followed by one in $name: what it said stays, it is gone',
    async (next) => {
      const root = scratch()
      const before = await worldOf(adapter, root)
      const said = await before.decide('before')
      const old = before.current('build')
      // The signer is started again with other settings: they say how the next key is made.
      const access = { ...next.access(), passphrase: next.access().passphrase ?? passphrase }
      const after = await signedFolder(root, {
        access: adapter.place === 'encrypted-file' ? access : next.access(),
      })
      await after.rotate('build', await next.arn())
      await after.decide('after')
      const { keyHint } = after.current('build')
      expect(keyHint).not.toBe(old.keyHint)
      for (const id of ['before', 'after']) await after.decide(id)
      const bundle = await after.ledger.bundleOf(said.leaf)
      expect(bundle.verificationMaterial.publicKey.hint).toBe(old.keyHint)
      verifyBundle(bundle, after.ledger.trust(), { kind: 'sbom' })
      const list = (await after.list()).filter(({ role }) => role === 'build')
      expect(list.at(-2)).toMatchObject({ place: null })
      expect(list.at(-1)?.place).not.toBeNull()
      expect(await after.problems()).toEqual([])
      expect((await readdir(join(root, 'keys'))).filter((name) => name.includes('next'))).toEqual(
        [],
      )
    },
  )

  test('is known to a backup as the key of its role, and to the doctor as one that can be opened', async () => {
    const keys = join(world.root, 'keys')
    const names = (await readdir(keys)).filter((name) => name.endsWith('.pem'))
    const files = names.map((name) => ({ name, content: readFileSync(join(keys, name), 'utf8') }))
    demandKeysOf(world.ledger.trust(), files)
    vi.stubEnv('AWS_ACCESS_KEY_ID', kmsCredentials.accessKeyId)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', kmsCredentials.secretAccessKey)
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })
    const checks = await checkSigningKeys(settingsOf(world.root, '/somewhere'))
    expect(checks.map(({ name, state }) => [name, state])).toEqual(adapter.checks)
  })

  test('tells its secrets to nobody: not in what it logs, answers or throws', async () => {
    const root = scratch()
    const { file } = await worldOf(adapter, root)
    const content = await readFile(file, 'utf8')
    const lines: string[] = []
    const options = {
      directory: join(root, 'keys'),
      socket: join(root, 'run', 'signer.sock'),
      origin: 'kiln.local',
      access: adapter.access(),
      lock,
      now,
      logger: pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }),
    }
    const server = await startSigner(options)
    const client = signerClient({ ...options, timeoutMs: 10_000 })
    const answers: unknown[] = [
      await client.sign(example('sbom')),
      [...(await client.keyPlaces())],
      await failureOf(client.sign({ ...example('key'), kind: 'sbom' } as never)),
      await failureOf(client.nextKey('build', 'arn:aws:kms:eu-central-1:123456789012:key/none')),
    ]
    expect(answers.at(-1)).toMatchObject({ fix: expect.stringContaining('look at the ARN') })
    await server.close()
    await writeFile(file, adapter.spoil(content))
    const spoilt = await failureOf(startSigner(options))
    expect(spoilt).toMatchObject({ code: 'prerequisite_missing', retryable: false })
    expect(spoilt).toHaveProperty('fix')
    const halves = /-----BEGIN (?:ENCRYPTED )?PRIVATE KEY-----([^-]+)-/.exec(content)?.[1] ?? ''
    const secrets = [...halves.split('\n').filter((line) => line.length > 20), 'canary', 'CANARY']
    const shown = [lines.join(''), ...answers, spoilt].map(shownOf).join('\n')
    expect(shown).toContain('arn:aws:kms:eu-central-1:123456789012:key/none')
    expect(secrets.filter((secret) => shown.includes(secret))).toEqual([])
  })
})

// What only a key in KMS can meet: kms-key.test.ts has what a bad KMS does.

const missing = 'arn:aws:kms:eu-central-1:123456789012:key/none'

test.each<[string, Parameters<KmsAtHand['make']>[0]]>([
  ['of another curve', { KeySpec: 'ECC_NIST_P384', KeyUsage: 'SIGN_VERIFY' }],
  ['of RSA', { KeySpec: 'RSA_2048', KeyUsage: 'SIGN_VERIFY' }],
  ['that encrypts', { KeySpec: 'SYMMETRIC_DEFAULT', KeyUsage: 'ENCRYPT_DECRYPT' }],
])('a KMS key %s follows no other: the role keeps its own', async (_what, input) => {
  const root = scratch()
  const world = await signedFolder(root, { access: withKms(null) })
  const before = world.current('build')
  const arn = await kms.make(input)
  await expect(world.rotate('build', arn)).rejects.toMatchObject({
    code: 'refused',
    place: arn,
    fix: expect.stringContaining('ECC_NIST_P256'),
  })
  expect(world.current('build')).toEqual(before)
  await world.rotate('build', await kms.make())
  await world.decide('after')
  expect(await world.problems()).toEqual([])
})

test('a KMS key that is gone or was disabled is a refusal that names it, and not an outage', async () => {
  const refusal = { code: 'refused', retryable: false }
  await expect(openKms(kms.settings).find(missing)).rejects.toMatchObject({
    ...refusal,
    place: missing,
    fix: expect.stringContaining('look at the ARN'),
  })
  const arn = await kms.make()
  const key = await openKms(kms.settings).find(arn)
  await kms.client.send(new DisableKeyCommand({ KeyId: arn.split('/').at(-1) }))
  await expect(key.sign(Buffer.from('x'))).rejects.toMatchObject({
    ...refusal,
    place: arn,
    fix: expect.stringContaining('enable the key'),
  })
})

test('the doctor says what is missing to open a key, and what to do', async () => {
  const [locked, remote] = [scratch(), scratch()]
  await signedFolder(locked, { access: withKms(passphrase) })
  const [shut] = await checkSigningKeys(settingsOf(locked))
  expect(shut).toMatchObject({ state: 'missing', found: expect.stringContaining('promote') })
  expect(shut?.fix).toContain('KILN_SIGNING_PASSPHRASE_FILE')
  expect(await checkSigningKeys(settingsOf(scratch()))).toEqual([])
  const world = await signedFolder(remote, { access: withKms(null) })
  const arn = await kms.make()
  await world.rotate('deny', arn)
  // What is encrypted later passes by what is no private half.
  expect(await encryptKeys(join(remote, 'keys'), passphrase)).toHaveLength(6)
  expect(await readFile(join(remote, 'keys', 'deny.pem'), 'utf8')).toContain(arn)
  vi.stubEnv('AWS_ACCESS_KEY_ID', kmsCredentials.accessKeyId)
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', kmsCredentials.secretAccessKey)
  onTestFinished(() => {
    vi.unstubAllEnvs()
  })
  const look = async () => (await checkSigningKeys(settingsOf(remote, '/somewhere'))).at(-1)
  expect(await look()).toMatchObject({ name: 'signing key deny', state: 'ok', found: 'in KMS' })
  await kms.client.send(new DisableKeyCommand({ KeyId: arn.split('/').at(-1) }))
  expect(await look()).toMatchObject({
    state: 'missing',
    found: expect.stringContaining('DisabledException'),
    wanted: expect.stringContaining(arn),
    fix: expect.stringContaining('enable the key'),
  })
  const file = join(remote, 'keys', 'deny.pem')
  const content = await readFile(file, 'utf8')
  await writeFile(file, content.replace(arn, await kms.make()))
  expect(await look()).toMatchObject({ state: 'missing', found: 'another key than the log names' })
})

test('a signer starts while KMS is away; what its key must sign waits, and then goes on', async () => {
  const root = scratch()
  const world = await signedFolder(root, { access: withKms(null) })
  const arn = await kms.make()
  await world.rotate('build', arn)
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const away: KeyAccess = { ...inTheClear, kms: async () => openKms({ ...kms.settings, endpoint }) }
  const restarted = await signedFolder(root, { access: away })
  const outage = { code: 'signer_unavailable', retryable: true, place: arn }
  await expect(restarted.decide('d')).rejects.toMatchObject(outage)
  expect((await restarted.list()).at(-1)?.place).toEqual({ kind: 'kms', arn })
  await relayTo(kms.settings.endpoint, port)
  await restarted.decide('d')
  expect(await restarted.problems()).toEqual([])
})

/** KMS, at an address of one's own. */
async function relayTo(endpoint: string, port: number): Promise<void> {
  const server = createServer((request, response) => {
    const asked = httpRequest(
      endpoint,
      { method: 'POST', headers: request.headers },
      (answer) => void answer.pipe(response.writeHead(answer.statusCode ?? 500, answer.headers)),
    )
    request.pipe(asked)
  })
  await listening(server, port)
}

test('a key waits for its place in the log: another one may not take it, an alias never', async () => {
  const keys = join(scratch(), 'keys')
  const options = { directory: keys, origin: 'kiln.local', access: withKms(null), lock, now }
  const signer = await openSigner(options)
  const arn = await kms.make()
  const { publicKey } = await signer.nextKey({ role: 'deny', kms: arn })
  expect(await signer.nextKey({ role: 'deny', kms: arn })).toEqual({ publicKey })
  expect(await signer.nextKey({ role: 'deny', kms: null })).toEqual({ publicKey })
  const other = signer.nextKey({ role: 'deny', kms: await kms.make() })
  await expect(other).rejects.toMatchObject({ code: 'refused' })
  const alias = 'arn:aws:kms:eu-central-1:123456789012:alias/kiln'
  await expect(signer.nextKey({ role: 'test', kms: alias })).rejects.toMatchObject({
    code: 'verification_failed',
  })
  expect(await readdir(keys)).not.toContain('test-next.pem')
  const content = await readFile(join(keys, 'deny-next.pem'), 'utf8')
  expect(content).toContain(`aws-kms: ${arn}\n-----BEGIN PUBLIC KEY-----`)
  expect(content).not.toContain('PRIVATE')
})
