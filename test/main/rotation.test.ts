import { execa } from 'execa'
import { readFile, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { envelopeOf } from '../../signing/bundle.ts'
import { leafOfEnvelope } from '../../signing/leaf.ts'
import { signPayload } from '../../signing/sign.ts'
import { statementBytes } from '../../signing/statements.ts'
import { writeTrust } from '../../signing/trust-files.ts'
import { fingerprintOf, type TrustRoot } from '../../signing/trust.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { inTheClear, readSigningKey } from '../../signing/keys.ts'
import type { DeniedSubject } from '../../src/domain/denial.ts'
import { digestOfHex } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { Role } from '../../src/domain/role.ts'
import type { FactKind } from '../../src/domain/statement.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { leafBundleKey } from '../../src/ledger/entry.ts'
import { recordDenial } from '../../src/ledger/denial-records.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { signingKeysInLog } from '../../src/main/signing-keys.ts'
import type { RecordDependencies } from '../../src/ledger/record.ts'
import { origin } from '../helpers/ledger-signer.ts'
import { signedFolder } from '../helpers/signed-folder.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from '../signing/examples.ts'
import { bundleBytes } from '../../signing/bundle.ts'
import { leafName } from '../../signing/leaf.ts'

// Rotation over the real signer, the real log in a folder, and every reader.

const asked = { id: '0'.repeat(32), principal: { name: 'ann', kind: 'token' } } as const

async function open(root = scratch()) {
  const world = await signedFolder(root, { access: inTheClear })
  const { deps, ledger } = world
  const { head, store, trust: known } = deps
  return {
    ...world,
    root,
    known,
    rotate: (role: Role) => world.rotate(role, null),
    decide: (id: string, kind: FactKind, seed = 1) =>
      ledger.decide({ id, signable: example(kind, seed) }),
    reader: (root_?: string) =>
      openLedgerReader({ ...deps, ...(root_ === undefined ? {} : { root: root_ }) }),
    check: (trust: TrustRoot = known) => fsck({ store, head, trust }),
    privateHalf: (role: Role) => readSigningKey(join(root, 'keys', `${role}.pem`), inTheClear),
  }
}
type World = Awaited<ReturnType<typeof open>>

/** Logs a statement by any key, as somebody would who has the key and the store. */
async function logBy(
  { deps }: World,
  key: Awaited<ReturnType<World['privateHalf']>>,
  kind: FactKind,
): Promise<string> {
  const bundle = await signPayload(statementBytes(example(kind, 9), origin), key)
  const entry = leafOfEnvelope(envelopeOf(bundle), key.publicKey)
  const leaf = leafName(entry)
  await deps.store.put(leafBundleKey(leaf), bundleBytes(bundle))
  await openAppender({ ...deps, crashPoint: () => {} }).append(entry)
  return leaf
}

test('what the old key signed stays valid; it signs nothing more, here or anywhere', async () => {
  const own = await open()
  const before = await own.decide('before', 'sbom')
  const oldKey = await own.privateHalf('build')
  const old = own.current('build')
  const listed = await own.rotate('build')
  expect(listed.filter(({ role }) => role === 'build')).toMatchObject([
    { fingerprint: fingerprintOf(old), from: 0, to: before.index + 2 },
    { from: before.index + 2, to: null },
  ])
  // The private half is gone from the signer, and the new one signs.
  const after = await own.decide('after', 'sbom', 2)
  const reader = own.reader()
  await reader.refresh()
  for (const { leaf } of [before, after]) {
    expect(reader.factOf(leaf)).toBeDefined()
    verifyBundle(await reader.bundleOf(leaf), reader.trust(), { kind: 'sbom' })
  }
  const hintAfter = (await reader.bundleOf(after.leaf)).verificationMaterial.publicKey.hint
  expect(hintAfter).toBe(own.current('build').keyHint)
  expect(Buffer.from((await own.privateHalf('build')).publicKey)).not.toEqual(
    Buffer.from(oldKey.publicKey),
  )
  expect(await own.check()).toMatchObject({ problems: [] })
  // Somebody kept the old key, and can write into the store and the log.
  const forged = await logBy(own, oldKey, 'sbom')
  await reader.refresh()
  expect(reader.factOf(forged)).toBeUndefined()
  expect((await own.check()).problems.map(({ message }) => message).join()).toContain(
    'not valid at',
  )
  await expect(
    own.keys.rotate(asked, { role: 'build', replaces: `sha256:${'0'.repeat(64)}`, kms: null }),
  ).rejects.toThrow('never had')
})

test('the same request again changes nothing, and one by a stranger is refused', async () => {
  const own = await open()
  const replaces = fingerprintOf(own.current('record'))
  const once = await own.keys.rotate(asked, { role: 'record', replaces, kms: null })
  expect(await own.keys.rotate(asked, { role: 'record', replaces, kms: null })).toEqual(once)
  const stranger = { ...asked, principal: { name: 'kiln', kind: 'kiln' } } as const
  await expect(
    own.keys.rotate(stranger, { role: 'record', replaces, kms: null }),
  ).rejects.toMatchObject({
    code: 'forbidden',
  })
})

test('what was signed and not logged before the range ended is signed anew', async () => {
  const own = await open()
  const signable = example('drift', 3)
  // A server that died between the signature and the log.
  const dying = openLedger({
    ...own.deps,
    crashPoint: (name) => {
      if (name === 'ledger.decision-stored') throw new Error('killed')
    },
  })
  await dying.refresh()
  await expect(dying.decide({ id: 'd', signable })).rejects.toThrow('killed')
  await own.rotate('record')
  const decided = await own.ledger.decide({ id: 'd', signable })
  expect(await own.ledger.decide({ id: 'd', signable })).toEqual(decided)
  const bundle = await own.ledger.bundleOf(decided.leaf)
  expect(bundle.verificationMaterial.publicKey.hint).toBe(own.current('record').keyHint)
  expect(await own.check()).toMatchObject({ problems: [] })
})

test('a signer that has yet to hear what the log says of its keys is told before it counts', async () => {
  const own = await open()
  const old = fingerprintOf(own.current('record'))
  const { takeRoles } = own.signer
  // It died after the list was logged.
  own.signer.takeRoles = () => Promise.reject(new KilnError('signer_unavailable', 'it is away'))
  await expect(own.rotate('record')).rejects.toMatchObject({ code: 'signer_unavailable' })
  await expect(own.decide('early', 'drift')).rejects.toMatchObject({ code: 'signer_unavailable' })
  own.signer.takeRoles = takeRoles
  const { leaf } = await own.decide('early', 'drift')
  const { hint } = (await own.ledger.bundleOf(leaf)).verificationMaterial.publicKey
  expect(hint).toBe(own.current('record').keyHint)
  expect(fingerprintOf(own.current('record'))).not.toBe(old)
  expect(await own.check()).toMatchObject({ problems: [] })
})

test('another server rotates: what was signed before and logged after it is signed anew', async () => {
  const own = await open()
  let signed = 0
  const sign: typeof own.signer.sign = async (signable) => {
    const bundle = await own.signer.sign(signable)
    signed += 1
    if (signed === 1) await own.rotate('record')
    return bundle
  }
  const second = openLedger({ ...own.deps, signer: { ...own.signer, sign } })
  await second.refresh()
  const decided = await second.decide({ id: 'd', signable: example('drift', 3) })
  const { hint } = (await second.bundleOf(decided.leaf)).verificationMaterial.publicKey
  expect(hint).toBe(own.current('record').keyHint)
  expect(await second.decide({ id: 'd', signable: example('drift', 3) })).toEqual(decided)
  // It has not read the log since this one, and meets a key that it does not know.
  await own.rotate('record')
  await second.decide({ id: 'e', signable: example('drift', 4) })
  await own.ledger.refresh()
  expect(own.ledger.facts().filter(({ kind }) => kind === 'drift')).toHaveLength(2)
})

test('decisions go on while keys change: none is lost, none is twice', async () => {
  const own = await open()
  const ids = Array.from({ length: 30 }, (_, n) => `d${n}`)
  const deciding = ids.map((id, n) => own.ledger.decide({ id, signable: example('drift', n) }))
  await Promise.all([own.rotate('record'), own.rotate('build'), ...deciding])
  await own.rotate('record')
  const reader = own.reader()
  await reader.refresh()
  expect(reader.facts().filter(({ kind }) => kind === 'drift')).toHaveLength(30)
  expect(reader.facts().filter(({ kind }) => kind === 'roles')).toHaveLength(4)
  expect(await own.check()).toMatchObject({ problems: [] })
})

test('the root is followed too: who pinned the old one goes on, who pins the new one may', async () => {
  const own = await open()
  const old = fingerprintOf(own.current('root'))
  await own.rotate('root')
  const next = fingerprintOf(own.current('root'))
  await own.rotate('promote')
  for (const pin of [old, next]) await own.reader(pin).refresh()
  const stranger = fingerprintOf((await open()).current('root'))
  await expect(own.reader(stranger).refresh()).rejects.toMatchObject({
    code: 'verification_failed',
    place: 'root',
  })
})

test('a log by another root is refused by who pinned this one, whatever the trust files say', async () => {
  const own = await open()
  const pin = fingerprintOf(own.current('root'))
  const other = await open()
  await other.decide('x', 'drift')
  await expect(other.reader(pin).refresh()).rejects.toThrow('not by the root')
  const { store, head } = other.deps
  const { problems } = await fsck({ store, head, trust: other.known, root: pin })
  expect(problems).toMatchObject([{ place: 'root' }])
})

async function denied(own: World, subject: DeniedSubject) {
  const dependencies = {
    ledger: own.ledger.refresh,
    decide: own.ledger.decide,
    signingKeys: signingKeysInLog(own),
    version: '0.0.0',
    now: () => new Date(),
  } as unknown as RecordDependencies
  const request = { id: 'r', subject, reason: 'stolen', requestedAt: '' }
  return recordDenial(dependencies, { ...request, principal: asked.principal })
}

test.each(['promote', 'deny'] as const)(
  'a denied %s key is followed first, and its successor or another signs the denial, once',
  async (role) => {
    const own = await open()
    const before = await own.decide('before', 'denial', 1)
    const stolen = own.current(role)
    const fingerprint = digestOfHex(fingerprintOf(stolen).slice('sha256:'.length))
    const subject = { kind: 'signing-key', fingerprint, from: 1 } as const
    const denial = await denied(own, subject)
    expect(await denied(own, subject)).toEqual(denial)
    expect(denial.of).toEqual({
      kind: 'signing-key',
      role,
      fingerprint,
      from: 1,
      to: before.index + 2,
    })
    const reader = own.reader()
    const ledger = await reader.refresh()
    expect(ledger.deniedWords).toMatchObject([{ role, from: 1, to: before.index + 2 }])
    // What a stolen deny key denied stays denied: hosts do not unlearn it.
    expect([...ledger.denied.values()].map(({ leaf }) => leaf)).toEqual([before.leaf])
    const { hint } = (await reader.bundleOf(denial.leaf)).verificationMaterial.publicKey
    expect(hint).toBe(own.current('deny').keyHint)
    expect(own.current(role).keyHint).not.toBe(stolen.keyHint)
    expect(await own.check()).toMatchObject({ problems: [] })
  },
)

test('the root is not denied, and nothing is changed by asking', async () => {
  const own = await open()
  const fingerprint = digestOfHex(fingerprintOf(own.current('root')).slice('sha256:'.length))
  const { size } = own.ledger.ledger()
  await expect(denied(own, { kind: 'signing-key', fingerprint, from: 0 })).rejects.toMatchObject({
    code: 'invalid_input',
  })
  expect((await own.ledger.refresh()).size).toBe(size)
})

test('a list that its root signed against the rules counts for nothing', async () => {
  const own = await open()
  const root = await own.privateHalf('root')
  const [any] = own.known.roles
  const roles = own.known.roles.map((key) => (key === any ? key : { ...key, validFrom: 1 }))
  const list = {
    kind: 'roles',
    time: '2026-01-01T00:00:00Z',
    trust: { ...own.known, roles },
  } as const
  const bundle = await signPayload(statementBytes(list, origin), root)
  const entry = leafOfEnvelope(envelopeOf(bundle), root.publicKey)
  await own.deps.store.put(leafBundleKey(leafName(entry)), bundleBytes(bundle))
  await openAppender({ ...own.deps, crashPoint: () => {} }).append(entry)
  const reader = own.reader()
  await reader.refresh()
  expect(reader.trust()).toEqual(own.known)
  expect((await own.check()).problems.map(({ message }) => message).join()).toContain(
    'may not follow',
  )
  // Nor does the signer sign one.
  await expect(own.signer.sign(list)).rejects.toMatchObject({ code: 'refused' })
})

function run(root: string, role: Role, point: string) {
  const script = resolve(import.meta.dirname, 'rotation-process.ts')
  return execa(process.execPath, [script, root, role, point], { reject: false })
}

describe('killed while a key is followed,', () => {
  const points = [
    'signer.key-made',
    'ledger.staged',
    'ledger.checkpoint-signed',
    'ledger.head-swapped',
    'signer.roles-durable',
  ]
  test.each(points.map((point, n) => [point, n % 2 === 0 ? 'record' : 'root'] as const))(
    'at %s of the %s key: asked again, it ends, once',
    async (point, role) => {
      const root = scratch()
      const killed = await run(root, role, point)
      expect(killed.signal).toBe('SIGKILL')
      const old = killed.stdout.trim()
      const own = await open(root)
      await own.keys.rotate(asked, { role, replaces: old, kms: null })
      await own.decide('after', 'drift', 2)
      const keys = own.ledger.trust().roles.filter((key) => key.role === role)
      expect(keys.map(({ validTo }) => validTo === null)).toEqual([false, true])
      expect(own.ledger.facts().filter(({ kind }) => kind === 'drift')).toHaveLength(2)
      expect(await own.check()).toMatchObject({ problems: [] })
      const files = await readdir(join(root, 'keys'))
      expect(files.filter((name) => name.includes('next'))).toEqual([])
      await own.decide('more', 'drift', 7)
    },
  )
})

test('the public halves are written again, those that have ended beside them', async () => {
  const own = await open()
  const trust = join(own.root, 'trust')
  await writeTrust(trust, own.ledger.trust())
  const before = await readFile(join(trust, 'promote.pub'), 'utf8')
  await own.rotate('promote')
  await writeTrust(trust, own.signer.trust)
  const [retired = ''] = await readdir(join(trust, 'retired'))
  expect(retired).toMatch(/^promote-[0-9a-f]{12}\.pub$/)
  expect(await readFile(join(trust, 'retired', retired), 'utf8')).toBe(before)
  expect(await readFile(join(trust, 'promote.pub'), 'utf8')).not.toBe(before)
})
