import { chmod, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { roleOf, roles } from '../../src/domain/role.ts'
import type { FactKind } from '../../src/domain/statement.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { toBase64 } from '../../signing/base64.ts'
import { envelopeOf } from '../../signing/bundle.ts'
import { verifyCheckpoint } from '../../signing/checkpoint.ts'
import { leafHash, rootOf } from '../../signing/merkle.ts'
import { publicKeyOf } from '../../signing/public-key.ts'
import { signerClient, type SignerClient } from '../../signing/signer-client.ts'
import { startSigner, type SignerServer } from '../../signing/signer-server.ts'
import { buildStatement, statementBytes } from '../../signing/statements.ts'
import { readTrust, writeTrust } from '../../signing/trust-files.ts'
import { derOf } from '../../signing/trust.ts'
import { verifyRole, verifySignature } from '../../signing/verify.ts'
import { naiveConsistency } from '../helpers/naive-tree.ts'
import { example } from './examples.ts'

const origin = 'kiln.local'
const kinds = Object.keys(roleOf) as FactKind[]

let folder: string
let server: SignerServer
let client: SignerClient
let lines: string[]

const at = (...parts: string[]) => join(folder, ...parts)
const start = () =>
  startSigner({
    directory: at('keys'),
    socket: at('run', 'signer.sock'),
    origin,
    lock: lockFolder,
    now: () => new Date(),
    logger: pino({ level: 'trace' }, { write: (line: string) => lines.push(line) }),
  })

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-signer-'))
  lines = []
  server = await start()
  client = signerClient({ socket: at('run', 'signer.sock'), origin, timeoutMs: 10_000 })
})

afterEach(async () => {
  await server.close()
  await rm(folder, { recursive: true, force: true })
})

/** A request as anyone with the socket could write it. */
function post(path: string, body: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { socketPath: at('run', 'signer.sock'), method: 'POST', path, agent: false },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => (text += part))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      },
    )
    asked.on('error', reject)
    asked.end(body)
  })
}

test.each(kinds.filter((kind) => kind !== 'roles'))(
  'a %s statement is signed by its role',
  async (kind) => {
    await client.health()
    const signable = example(kind)
    const bundle = await client.sign(signable)
    const key = verifySignature(bundle, server.trust)
    expect(key.role).toBe(roleOf[kind])
    expect(verifyRole(bundle, server.trust, key)).toEqual(signable)
    expect(Buffer.from(envelopeOf(bundle).payload)).toEqual(
      Buffer.from(statementBytes(signable, origin)),
    )
  },
)

test('the list of roles is signed only when it names the keys that are here', async () => {
  const { time } = example('roles')
  const bundle = await client.sign({ kind: 'roles', time, trust: server.trust })
  expect(verifySignature(bundle, server.trust).role).toBe('root')
  const [first, ...rest] = server.trust.roles
  const fewer = { ...server.trust, roles: rest }
  await expect(client.sign({ kind: 'roles', time, trust: fewer })).rejects.toMatchObject({
    code: 'refused',
  })
  const promoted = { ...server.trust, roles: [...rest, { ...first!, role: 'promote' as const }] }
  await expect(client.sign({ kind: 'roles', time, trust: promoted })).rejects.toMatchObject({
    code: 'refused',
  })
})

test('what is not exactly a statement of the asked kind is not signed', async () => {
  const statement = buildStatement(example('key'), origin)
  const asked = [
    { kind: 'denial', statement },
    { kind: 'record', statement },
    { kind: 'key', statement: { ...statement, more: 1 } },
    { kind: 'key', statement: { ...statement, predicate: { ...statement.predicate, more: 1 } } },
    { kind: 'key', statement, role: 'promote' },
    { kind: 'key', statement: buildStatement(example('key'), 'other.example') },
    { kind: 'key', statement: buildStatement(example('denial'), origin) },
    { kind: 'key', statement: null },
    { kind: 'key' },
    [],
    null,
  ]
  for (const body of asked) {
    const { status, text } = await post('/sign', JSON.stringify(body))
    expect([409, 422]).toContain(status)
    expect(text).not.toContain('dsseEnvelope')
    expect(JSON.parse(text)).toMatchObject({ error: { code: expect.any(String) } })
  }
  expect((await post('/sign', '{"kind":')).status).toBe(400)
  expect((await post('/other', '{}')).status).toBe(404)
  expect(lines.filter((line) => line.includes('"msg":"signed"'))).toEqual([])
})

test('more than 4 MB is refused', async () => {
  const huge = { ...example('sbom'), document: { padding: 'x'.repeat(5_000_000) } }
  await expect(client.sign(huge)).rejects.toMatchObject({ code: 'invalid_input' })
})

const leaves = Array.from({ length: 12 }, (_, n) => leafHash(Buffer.from(`leaf ${n}`)))
const forked = leaves.with(2, leafHash(Buffer.from('rewritten')))

function tree(all: readonly Uint8Array[], size: number, from: number) {
  const tip = all.slice(0, size)
  return {
    origin,
    size,
    root: toBase64(rootOf(tip)),
    proof: naiveConsistency(tip, from).map(toBase64),
  }
}

const logOf = ({ trust }: SignerServer) => ({ origin, publicKey: publicKeyOf(derOf(trust.logKey)) })

test('checkpoints are signed as long as each extends the last', async () => {
  expect(await client.lastCheckpoint()).toBeNull()
  let from = 0
  for (const size of [1, 2, 5, 12]) {
    const answer = await client.checkpoint(tree(leaves, size, from))
    expect(answer.kind).toBe('signed')
    const note = answer.kind === 'signed' ? answer.note : ''
    expect(verifyCheckpoint(note, logOf(server)).size).toBe(size)
    expect(await client.lastCheckpoint()).toEqual({ ...tree(leaves, size, 0), note, ...gone })
    from = size
  }
})
const gone = { origin: undefined, proof: undefined }

test.each([
  ['another tree of the same size', () => tree(forked, 5, 5)],
  ['a shorter tree', () => tree(leaves, 4, 4)],
  ['a longer tree with another beginning', () => tree(forked, 9, 5)],
  ['a longer tree without its proof', () => ({ ...tree(leaves, 9, 5), proof: [] })],
  ['a proof from an older size', () => tree(leaves, 9, 3)],
  ['another log', () => ({ ...tree(leaves, 9, 5), origin: 'other.example' })],
  ['the empty tree', () => tree(leaves, 0, 0)],
])('%s is refused, and the last signed one is named', async (_what, asked) => {
  await client.checkpoint(tree(leaves, 3, 0))
  const signed = await client.checkpoint(tree(leaves, 5, 3))
  const note = signed.kind === 'signed' ? signed.note : ''
  const before = await readFile(at('keys', 'checkpoint-state.json'), 'utf8')
  const last = { size: 5, root: tree(leaves, 5, 0).root, note }
  expect(await client.checkpoint(asked())).toEqual({
    kind: 'refused',
    message: expect.any(String),
    last,
  })
  expect(await readFile(at('keys', 'checkpoint-state.json'), 'utf8')).toBe(before)
  expect(await client.checkpoint(tree(leaves, 5, 5))).toEqual({ kind: 'signed', note })
})

test('what was signed is remembered before anyone hears of it', async () => {
  // The answer is dropped: the connection ends as soon as the request is out.
  const asked = request({
    socketPath: at('run', 'signer.sock'),
    method: 'POST',
    path: '/checkpoint',
    agent: false,
  })
  asked.on('error', () => {})
  await new Promise<void>((resolve) => asked.end(JSON.stringify(tree(leaves, 5, 0)), resolve))
  await expect
    .poll(() => readFile(at('keys', 'checkpoint-state.json'), 'utf8'))
    .toContain('"size":5')
  asked.destroy()

  await server.close()
  server = await start()
  const last = await client.lastCheckpoint()
  expect(last).toMatchObject({ size: 5, root: tree(leaves, 5, 0).root })
  expect(await client.checkpoint(tree(forked, 6, 5))).toMatchObject({ kind: 'refused', last })
  expect(await client.checkpoint(tree(leaves, 6, 5))).toMatchObject({ kind: 'signed' })
})

test('when the record cannot be written, nothing is signed', async () => {
  await client.checkpoint(tree(leaves, 3, 0))
  await writeFile(at('blocked'), '')
  await rename(at('keys'), at('moved'))
  await rename(at('blocked'), at('keys'))
  const asked = client.checkpoint(tree(leaves, 5, 3))
  await expect(asked).rejects.toMatchObject({ code: 'internal' })
  await rm(at('keys'))
  await rename(at('moved'), at('keys'))
  expect(await client.lastCheckpoint()).toMatchObject({ size: 3 })
})

test.each([
  ['is gone', (path: string) => rm(path)],
  ['is damaged', (path: string) => writeFile(path, '{"version":1}', { mode: 0o600 })],
])('a signer whose record of the last checkpoint %s does not start', async (_what, harm) => {
  await client.checkpoint(tree(leaves, 3, 0))
  await server.close()
  const kept = await readFile(at('keys', 'checkpoint-state.json'))
  await harm(at('keys', 'checkpoint-state.json'))
  await expect(start()).rejects.toMatchObject({ code: 'ledger_corrupt' })
  await writeFile(at('keys', 'checkpoint-state.json'), kept)
  server = await start()
})

test('a second signer on the same keys does not start', async () => {
  await expect(start()).rejects.toMatchObject({ code: 'already_running' })
  await client.health()
})

test('keys are made once, closed to others, and the same after a restart', async () => {
  const first = server.trust
  const names = await readdir(at('keys'))
  expect(names).toEqual(expect.arrayContaining([...roles, 'log'].map((name) => `${name}.pem`)))
  expect((await stat(at('keys'))).mode & 0o777).toBe(0o700)
  expect((await stat(at('run', 'signer.sock'))).mode & 0o777).toBe(0o600)
  for (const name of names.filter((one) => one.endsWith('.pem') || one.endsWith('.json'))) {
    expect((await stat(at('keys', name))).mode & 0o777).toBe(0o600)
  }
  await server.close()
  server = await start()
  expect(server.trust).toEqual(first)
  expect(new Set(first.roles.map((key) => key.keyHint)).size).toBe(roles.length)
})

test('keys that others can read, and a folder that lacks one, are refused', async () => {
  await server.close()
  await chmod(at('keys', 'promote.pem'), 0o640)
  await expect(start()).rejects.toMatchObject({ code: 'prerequisite_missing' })
  await chmod(at('keys', 'promote.pem'), 0o600)
  await rename(at('keys', 'log.pem'), at('log.pem'))
  await expect(start()).rejects.toMatchObject({ code: 'prerequisite_missing' })
  await rename(at('log.pem'), at('keys', 'log.pem'))
  server = await start()
})

test('no private key stands in any answer, error or log line', async () => {
  const answers = [
    JSON.stringify(await client.sign(example('key'))),
    (await post('/sign', JSON.stringify({ kind: 'key', statement: {} }))).text,
    JSON.stringify(await client.checkpoint(tree(leaves, 3, 0))),
    JSON.stringify(server.trust),
    ...lines,
  ].join('\n')
  expect(answers).toContain('signed')
  for (const name of [...roles, 'log']) {
    const pem = await readFile(at('keys', `${name}.pem`), 'utf8')
    const [, ...body] = pem.trim().split('\n')
    expect(answers).not.toContain(body[0])
  }
})

test('trust is written for people and programs, and read back', async () => {
  await writeTrust(at('trust'), server.trust)
  await writeTrust(at('trust'), server.trust)
  expect(await readTrust(at('trust'))).toEqual(server.trust)
  expect((await readdir(at('trust'))).toSorted()).toEqual(
    [
      ...roles.map((role) => `${role}.pub`),
      'log.vkey',
      'retired',
      'roles.json',
      'trusted_root.json',
    ].toSorted(),
  )
  const path = at('trust', 'roles.json')
  const text = await readFile(path, 'utf8')
  const hint = server.trust.roles[0]!.keyHint
  for (const wrong of ['', '{}', text.replace(hint, server.trust.roles[1]!.keyHint)]) {
    await writeFile(path, wrong)
    await expect(readTrust(at('trust'))).rejects.toMatchObject({ code: 'verification_failed' })
  }
})

test('a signer that is away or silent is unavailable, and that can be tried again', async () => {
  const away = signerClient({ socket: at('none.sock'), origin, timeoutMs: 10_000 })
  await expect(away.sign(example('key'))).rejects.toMatchObject({
    code: 'signer_unavailable',
    retryable: true,
  })
  const silent = createServer((socket) => socket.resume())
  await new Promise<void>((resolve) => silent.listen(at('silent.sock'), resolve))
  const waiting = signerClient({ socket: at('silent.sock'), origin, timeoutMs: 50 })
  await expect(waiting.lastCheckpoint()).rejects.toMatchObject({ code: 'signer_unavailable' })
  await new Promise((resolve) => silent.close(resolve))
  const other = signerClient({
    socket: at('run', 'signer.sock'),
    origin: 'other.example',
    timeoutMs: 10_000,
  })
  await expect(other.health()).rejects.toMatchObject({ code: 'verification_failed' })
})
