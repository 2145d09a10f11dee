import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { p256 } from '@noble/curves/nist.js'
import { expect, onTestFinished, test, vi } from 'vitest'
import { inTheClear, readSigningKey } from '../../signing/keys.ts'
import { openKms } from '../../signing/kms-key.ts'
import { spkiOf } from '../../signing/public-key.ts'
import { kmsCredentials } from '../helpers/kms-at-hand.ts'
import { listening } from '../helpers/listening.ts'
import { signedFolder } from '../helpers/signed-folder.ts'
import { scratch } from '../helpers/store-scratch.ts'

// What a key in KMS can meet when KMS, or somebody before it, is bad. What it must do beside other keys:
// signing-key.test.ts.

const missing = 'arn:aws:kms:eu-central-1:123456789012:key/none'

type Asked = { what: string; body: Record<string, unknown> }

/** A KMS that answers what a test wants, and remembers what it was asked. */
async function badKms(answer: (asked: Asked) => { status: number; body: object }) {
  const all: Asked[] = []
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const what = String(request.headers['x-amz-target']).split('.').at(-1) ?? ''
    const asked = { what, body: JSON.parse(Buffer.concat(parts).toString()) as Asked['body'] }
    all.push(asked)
    const { status, body } = answer(asked)
    response
      .writeHead(status, { 'content-type': 'application/x-amz-json-1.1' })
      .end(JSON.stringify({ ...body, asked: request.headers }))
  })
  return { all, settings: { credentials: kmsCredentials, endpoint: await listening(server) } }
}

const quoting = 'the request was signed with AKIAKILNCANARY and a token-canary'

test.each([
  [400, 'AccessDeniedException', { code: 'refused', retryable: false }],
  [400, 'KMSInvalidStateException', { code: 'refused', retryable: false }],
  [403, 'ExpiredTokenException', { code: 'refused', retryable: false }],
  [400, 'ThrottlingException', { code: 'signer_unavailable', retryable: true }],
  [429, 'TooManyRequestsException', { code: 'signer_unavailable', retryable: true }],
  [500, 'KMSInternalException', { code: 'signer_unavailable', retryable: true }],
])('%i %s says what it is and which key, and nothing that was quoted', async (...row) => {
  const [status, name, failure] = row
  const { settings } = await badKms(() => ({ status, body: { __type: name, message: quoting } }))
  const error: unknown = await openKms(settings)
    .find(missing)
    .catch((caught: unknown) => caught)
  expect(error).toMatchObject({ ...failure, message: expect.stringContaining(name) })
  expect(error).toMatchObject({ place: missing, fix: expect.any(String) })
  expect(`${inspect(error, { depth: 20 })} ${JSON.stringify(error)}`).not.toMatch(/canary/i)
})

test('without credentials nothing is signed, and it is said where they are looked for', async () => {
  for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE'])
    vi.stubEnv(name, undefined)
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
  vi.stubEnv('HOME', scratch())
  onTestFinished(() => {
    vi.unstubAllEnvs()
  })
  const { settings, all } = await badKms(() => ({ status: 500, body: {} }))
  await expect(openKms({ endpoint: settings.endpoint }).find(missing)).rejects.toMatchObject({
    code: 'signer_unavailable',
    message: expect.stringContaining('no AWS credentials'),
    fix: expect.stringContaining('docs/signing-keys.md'),
  })
  expect(all).toEqual([])
})

const pair = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const encoded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

/** What KMS answers that holds this key. */
function answerBy({ privateKey, publicKey }: ReturnType<typeof pair>, { what, body }: Asked) {
  if (what === 'GetPublicKey') {
    const kind = { KeyUsage: 'SIGN_VERIFY', SigningAlgorithms: ['ECDSA_SHA_256'] }
    return { PublicKey: encoded(spkiOf(publicKey)), ...kind }
  }
  const scalar = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url')
  const digest = Buffer.from(String(body['Message']), 'base64')
  const how = { prehash: false, lowS: false, format: 'der' } as const
  return { Signature: encoded(p256.sign(digest, scalar, how)) }
}

test('a KMS that answers with the signature of another key is not believed', async () => {
  const [own, other] = [pair(), pair()]
  const { settings, all } = await badKms(() => ({
    status: 200,
    body: { Signature: encoded(sign('sha256', Buffer.from('x'), other.privateKey)) },
  }))
  const key = openKms(settings).pinned(missing, spkiOf(own.publicKey))
  await expect(key.sign(Buffer.from('x'))).rejects.toMatchObject({
    code: 'refused',
    place: missing,
    message: expect.stringContaining('does not verify'),
  })
  expect(all).toMatchObject([
    { what: 'Sign', body: { MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' } },
  ])
  expect(all[0]?.body['Message']).toBe(createHash('sha256').update('x').digest('base64'))
})

test('a KMS that puts another key in place of one signs nothing that is used', async () => {
  const root = scratch()
  const [own, other] = [pair(), pair()]
  let held = own
  const { settings, all } = await badKms((asked) => ({ status: 200, body: answerBy(held, asked) }))
  const access = { ...inTheClear, kms: async () => openKms(settings) }
  const world = await signedFolder(root, { access })
  await world.rotate('build', missing)
  const file = join(root, 'keys', 'build.pem')
  const key = await readSigningKey(file, access)
  await key.sign(Buffer.from('x'))
  const before = all.length
  held = other
  await expect(key.sign(Buffer.from('x'))).rejects.toMatchObject({ code: 'refused' })
  const restarted = await readSigningKey(file, access)
  await expect(restarted.sign(Buffer.from('x'))).rejects.toMatchObject({ code: 'refused' })
  // The public half was fetched when the key came, and is not asked for again.
  expect(all.slice(before).map(({ what }) => what)).toEqual(['Sign', 'Sign'])
  // Nor does it help to write the other key's public half into the file: the log names the first.
  const pem = String(other.publicKey.export({ format: 'pem', type: 'spki' }))
  await writeFile(file, `aws-kms: ${missing}\n${pem}`)
  const spoilt = await signedFolder(root, { access })
  await expect(spoilt.decide('d')).rejects.toMatchObject({ code: 'refused', place: 'build key' })
})

test('a key that may be looked at and not used follows no other: the role keeps its own', async () => {
  const held = pair()
  const { settings } = await badKms((asked) =>
    asked.what === 'Sign'
      ? { status: 400, body: { __type: 'AccessDeniedException', message: quoting } }
      : { status: 200, body: answerBy(held, asked) },
  )
  const root = scratch()
  const access = { ...inTheClear, kms: async () => openKms(settings) }
  const world = await signedFolder(root, { access })
  const before = world.current('root')
  await expect(world.rotate('root', missing)).rejects.toMatchObject({
    code: 'refused',
    place: missing,
    fix: expect.stringContaining('kms:Sign'),
  })
  expect(world.current('root')).toEqual(before)
  await world.rotate('root', null)
  expect(await world.problems()).toEqual([])
})
