import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { toBase64 } from '../../signing/base64.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { freshnessBytes, verifyFreshness, type Freshness } from '../../signing/freshness.ts'
import { leafHash, rootOf } from '../../signing/merkle.ts'
import { signPayload } from '../../signing/sign.ts'
import { openSigner } from '../../signing/signer.ts'
import { parseStatement } from '../../signing/statements.ts'
import { trustRootOf } from '../../signing/keys.ts'
import { KilnError } from '../../src/domain/error.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { memoryKeys } from '../helpers/signed-log.ts'

const origin = 'kiln.local'
const root = rootOf([leafHash(Buffer.from('one'))])
const time = '2026-11-28T03:00:00.000Z'

const keys = memoryKeys()
const trust = trustRootOf(keys, origin)
const note = signCheckpoint({ origin, size: 1, root }, keys.log)
const freshness: Freshness = { time, checkpoint: note, epochs: { 'hello/prod': 3 } }

test('what the record key says of now is read back, and is no statement for the log', async () => {
  const payload = freshnessBytes(freshness, origin)
  const bundle = await signPayload(payload, keys.roles.record)
  expect(verifyFreshness(bundle, trust)).toMatchObject({ ...freshness, tree: { size: 1 } })
  expect(() => parseStatement(payload, origin)).toThrow('not a kind that Kiln knows')
})

test.each<[string, () => Promise<unknown>]>([
  ["another role's key", () => signPayload(freshnessBytes(freshness, origin), keys.roles.promote)],
  [
    "another Kiln's key",
    () => signPayload(freshnessBytes(freshness, origin), memoryKeys().roles.record),
  ],
  [
    'another origin',
    () => signPayload(freshnessBytes(freshness, 'other.local'), keys.roles.record),
  ],
  [
    'a checkpoint that the log did not sign',
    () => {
      const checkpoint = signCheckpoint({ origin, size: 1, root }, memoryKeys().log)
      return signPayload(freshnessBytes({ ...freshness, checkpoint }, origin), keys.roles.record)
    },
  ],
  [
    'a field more',
    () =>
      signPayload(
        freshnessBytes({ ...freshness, more: 1 } as Freshness, origin),
        keys.roles.record,
      ),
  ],
  [
    'a time in another spelling',
    () => signPayload(freshnessBytes({ ...freshness, time: 'now' }, origin), keys.roles.record),
  ],
  [
    'another payload under the signature',
    async () => {
      const bundle = await signPayload(freshnessBytes(freshness, origin), keys.roles.record)
      const later = { ...freshness, time: '2026-11-28T04:00:00.000Z' }
      const payload = toBase64(freshnessBytes(later, origin))
      return { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload } }
    },
  ],
  ['no bundle', async () => freshness],
])('refused: %s', async (_what, make) => {
  const bundle = await make()
  expect(() => verifyFreshness(bundle, trust)).toThrow(KilnError)
})

test('a record key that was replaced says nothing of now', async () => {
  const bundle = await signPayload(freshnessBytes(freshness, origin), keys.roles.record)
  const roles = trust.roles.map((key) => (key.role === 'record' ? { ...key, validTo: 9 } : key))
  expect(() => verifyFreshness(bundle, { ...trust, roles })).toThrow('wanted the record key')
})

test('the signer vouches for the tree that it signed last, and for now alone', async () => {
  const directory = join(await mkdtemp(join(tmpdir(), 'kiln-fresh-')), 'keys')
  onTestFinished(() => rm(join(directory, '..'), { recursive: true, force: true }))
  const signer = await openSigner({
    directory,
    origin,
    lock: lockFolder,
    now: () => new Date(time),
  })
  onTestFinished(() => signer.close())
  await expect(signer.freshness(freshness)).rejects.toMatchObject({ code: 'refused' })
  const signed = signer.checkpoint({ origin, size: 1, root: toBase64(root), proof: [] })
  if (signed.kind === 'refused') throw new Error(signed.message)
  const now = { ...freshness, checkpoint: signed.note }
  expect(verifyFreshness(await signer.freshness(now), signer.history().trust)).toMatchObject(now)
  for (const wrong of ['2026-11-28T02:58:00.000Z', '2026-11-28T03:02:00.000Z']) {
    await expect(signer.freshness({ ...now, time: wrong })).rejects.toThrow('is not now')
  }
  await expect(signer.freshness({ ...now, more: 1 })).rejects.toMatchObject({
    code: 'verification_failed',
  })
  await expect(signer.freshness({ ...now, epochs: { nonsense: 1 } })).rejects.toMatchObject({
    code: 'verification_failed',
  })
  const two = toBase64(rootOf([leafHash(Buffer.from('one')), leafHash(Buffer.from('two'))]))
  const proof = [toBase64(leafHash(Buffer.from('two')))]
  expect(signer.checkpoint({ origin, size: 2, root: two, proof }).kind).toBe('signed')
  await expect(signer.freshness(now)).rejects.toMatchObject({ place: 'freshness.checkpoint' })
})
