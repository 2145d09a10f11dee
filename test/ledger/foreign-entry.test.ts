import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { pino } from 'pino'
import { beforeEach, expect, test } from 'vitest'
import { envelopeOf } from '../../signing/bundle.ts'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import {
  encodeLeaf,
  leafName,
  leafOfEnvelope,
  parseLeaf,
  type LeafContent,
} from '../../signing/leaf.ts'
import { leafHash, verifyInclusion } from '../../signing/merkle.ts'
import { keyHintOf, spkiOf } from '../../signing/public-key.ts'
import { signPayload } from '../../signing/sign.ts'
import { statementBytes } from '../../signing/statements.ts'
import { currentKey, derOf } from '../../signing/trust.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { leafBundleKey } from '../../src/ledger/entry.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedger, type LedgerWriter } from '../../src/ledger/ledger-writer.ts'
import { memorySigner, origin, type TestSigner } from '../helpers/ledger-signer.ts'
import { memoryStore, type MemoryStore } from '../helpers/memory-store.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })
const mine = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const hintOf = ({ publicKey }: { publicKey: KeyObject }) => keyHintOf(spkiOf(publicKey))
const allowed = new Set([hintOf(mine)])

let memory: MemoryStore
let signer: TestSigner
let ledger: LedgerWriter

beforeEach(async () => {
  memory = memoryStore()
  signer = memorySigner()
  ledger = openLedger({ ...memory, signer, trust: signer.trust, logger })
  await ledger.decide({ id: 'first', signable: example('refusal') })
})

function signed(text = 'what another tool signs', keys = mine): LeafContent {
  return {
    digest: createHash('sha256').update(text).digest(),
    signature: sign('sha256', Buffer.from(text), keys.privateKey),
    publicKey: spkiOf(keys.publicKey),
  }
}

const check = () => fsck({ ...memory, trust: signer.trust })

test('what an allowed key signed is logged once, with its proof, and is no fact', async () => {
  const content = signed()
  const facts = ledger.facts().length
  const answers = await Promise.all([1, 2, 3].map(() => ledger.logForeign(content, allowed)))
  expect(new Set(answers.map(({ logIndex }) => logIndex))).toEqual(new Set(['1']))
  const { inclusionProof, canonicalizedBody } = await ledger.logForeign(content, allowed)
  const leaf = derOf(canonicalizedBody)
  expect(parseLeaf(leaf)).toEqual({
    ...content,
    digest: expect.anything(),
    signature: expect.anything(),
    publicKey: expect.anything(),
  })
  const { size, root } = parseCheckpoint(inclusionProof.checkpoint.envelope).checkpoint
  const proof = inclusionProof.hashes.map(derOf)
  expect(verifyInclusion({ leafHash: leafHash(leaf), index: 1, size, proof, root })).toBe(true)
  expect(size).toBe(2)
  await ledger.refresh()
  expect(ledger.facts()).toHaveLength(facts)
  await ledger.decide({ id: 'after', signable: example('drift') })
  expect(await check()).toMatchObject({ entries: 3, foreign: 1, problems: [] })
})

const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const p384 = generateKeyPairSync('ec', { namedCurve: 'secp384r1' })
const compressed = Buffer.concat([
  Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
  Buffer.alloc(33, 2),
])

test.each<[string, string, () => LeafContent]>([
  ['a key that nobody allowed', 'forbidden', () => signed('x', other)],
  [
    'a signature by another key',
    'verification_failed',
    () => ({ ...signed(), signature: signed('x', other).signature }),
  ],
  [
    'a signature of another digest',
    'verification_failed',
    () => ({ ...signed(), digest: signed('y').digest }),
  ],
  [
    'a flipped bit in the signature',
    'verification_failed',
    () => {
      const content = signed()
      const signature = Buffer.from(content.signature)
      signature[20]! ^= 1
      return { ...content, signature }
    },
  ],
  [
    'a byte after the signature',
    'verification_failed',
    () => {
      let content = signed()
      while (content.signature.length > 71) content = signed()
      return { ...content, signature: Buffer.concat([content.signature, Buffer.alloc(1)]) }
    },
  ],
  ['no signature', 'verification_failed', () => ({ ...signed(), signature: Buffer.alloc(0) })],
  [
    'a signature that is too long',
    'invalid_input',
    () => ({ ...signed(), signature: Buffer.alloc(73) }),
  ],
  [
    'a digest that is too short',
    'invalid_input',
    () => ({ ...signed(), digest: Buffer.alloc(31) }),
  ],
  ['a digest that is too long', 'invalid_input', () => ({ ...signed(), digest: Buffer.alloc(33) })],
  [
    'a key of another curve',
    'invalid_input',
    () => ({ ...signed(), publicKey: spkiOf(p384.publicKey) }),
  ],
  ['a key in another spelling', 'invalid_input', () => ({ ...signed(), publicKey: compressed })],
  [
    'a key with a byte more',
    'invalid_input',
    () => ({ ...signed(), publicKey: Buffer.concat([signed().publicKey, Buffer.alloc(1)]) }),
  ],
])('refused, and nothing is logged: %s', async (_what, code, make) => {
  const keys = new Set([...allowed, keyHintOf(spkiOf(p384.publicKey)), keyHintOf(compressed)])
  await expect(ledger.logForeign(make(), keys)).rejects.toMatchObject({ code })
  expect(await check()).toMatchObject({ entries: 1, foreign: 0, problems: [] })
})

/** A statement that somebody who stole a role key signed beside the signer. */
async function stolen(): Promise<LeafContent> {
  const payload = statementBytes(example('denial'), origin)
  const bundle = await signPayload(payload, signer.keys.roles.deny)
  const key = derOf(currentKey(signer.trust, 'deny').publicKey)
  return parseLeaf(leafOfEnvelope(envelopeOf(bundle), key))
}

test('a role key speaks through the signer alone, even where it is allowed', async () => {
  const content = await stolen()
  const keys = new Set([keyHintOf(content.publicKey)])
  await expect(ledger.logForeign(content, keys)).rejects.toMatchObject({ code: 'refused' })
  await ledger.refresh()
  expect(ledger.ledger().denied.size).toBe(0)
  expect(await check()).toMatchObject({ entries: 1, problems: [] })
})

test("a role key's statement that is in the log already is answered, and not logged again", async () => {
  const { leaf, index } = await ledger.decide({ id: 'drift', signable: example('drift') })
  const bundle = JSON.parse(Buffer.from((await memory.store.get(leafBundleKey(leaf)))!).toString())
  const key = derOf(currentKey(signer.trust, 'record').publicKey)
  const content = parseLeaf(leafOfEnvelope(envelopeOf(bundle), key))
  expect(leafName(encodeLeaf(content))).toBe(leaf)
  expect((await ledger.logForeign(content, new Set())).logIndex).toBe(String(index))
  expect(await check()).toMatchObject({ entries: 2, foreign: 0, problems: [] })
})

test('fsck tells a foreign entry that its key did not sign, and one that is no entry at all', async () => {
  const appender = openAppender({
    ...memory,
    signer,
    trust: signer.trust,
    crashPoint: () => undefined,
  })
  await appender.append(encodeLeaf({ ...signed(), digest: Buffer.alloc(32) }))
  await appender.append(Buffer.from('{"kind": "something else"}'))
  const { problems, foreign } = await check()
  expect(foreign).toBe(2)
  expect(problems.map(({ message }) => message)).toEqual([
    'entry 1 is by no key of Kiln, and its own did not sign it',
    'entry 2 is not a canonical hashedrekord 0.0.2',
  ])
})
