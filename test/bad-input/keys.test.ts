import { beforeAll, expect, test } from 'vitest'
import { roleOf, type Role } from '../../src/domain/role.ts'
import { digestOfHex } from '../../src/domain/digest.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { leafBundleKey } from '../../src/ledger/entry.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { createAdmission } from '../../src/main/admission.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import type { AdmissionRequest } from '../../src/runtime/activities.ts'
import {
  bundleBytes,
  envelopeOf,
  parseLoggedBundle,
  type BundleEntry,
  type LoggedBundle,
} from '../../signing/bundle.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import type { SignerKeys } from '../../signing/keys.ts'
import { leafName, leafOfEnvelope } from '../../signing/leaf.ts'
import { signPayload } from '../../signing/sign.ts'
import type { Signable, SignableOf } from '../../signing/statement.ts'
import { statementBytes } from '../../signing/statements.ts'
import { currentKey, derOf, type TrustRoot } from '../../signing/trust.ts'
import type { KeyCheck } from '../../signing/verify-key.ts'
import { memorySigner, origin } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { memoryKeys } from '../helpers/signed-log.ts'
import { example } from '../signing/examples.ts'
import { workerAtHand } from './worker-log.ts'

/**
 * Numbers 42 and 43 of the catalogue in docs/bad-input.md: what a host is given as its key, by who has the
 * store and, for 43, the signing keys too. The host refuses, its worker's log has it, and the right key is
 * taken afterwards.
 */
const digest = digestOfHex('1'.repeat(64))
const content = Buffer.from('{"version":1}')

type Body<K extends 'change' | 'key'> = Partial<SignableOf<K>['body']>

/** hello/prod under its first key, with its second change open, and hello/test under a key of its own. */
async function scene(keys: SignerKeys = memoryKeys()) {
  const worker = workerAtHand()
  const signer = memorySigner(keys)
  const deps = { ...memoryStore(), signer, trust: signer.trust, logger: worker.logger }
  const { digest: definition } = await deps.store.putBlob(oneChunk(content))
  const appender = openAppender({ ...deps, crashPoint: () => {} })
  /** Signed and logged past every check of the server's own. */
  async function logged(payload: Uint8Array, role: Role = 'promote'): Promise<string> {
    const bundle = await signPayload(payload, keys.roles[role])
    const key = derOf(currentKey(signer.trust, role).publicKey)
    const leaf = leafOfEnvelope(envelopeOf(bundle), key)
    await deps.store.put(leafBundleKey(leafName(leaf)), bundleBytes(bundle))
    await appender.append(leaf)
    return leafName(leaf)
  }
  const say = (signable: Signable) =>
    logged(statementBytes(signable, origin), roleOf[signable.kind])
  const change = (body: Body<'change'>): SignableOf<'change'> => {
    const { body: any, ...rest } = example('change')
    const target = { digest, definition }
    return {
      ...rest,
      body: { ...any, changeKind: 'promotion', target, ...body },
    }
  }
  const key = (body: Body<'key'>): SignableOf<'key'> => {
    const { body: any, ...rest } = example('key')
    const about = { environment: 'hello/prod', rollbackTo: null, digest, definition } as const
    return { ...rest, body: { ...any, ...about, ...body } }
  }
  const begun = async (environment: 'hello/prod' | 'hello/test') => {
    const tip = await say(change({ environment, epoch: 1, tip: null }))
    const leaf = await say(key({ environment, sequence: 1, epoch: 1, previous: null }))
    return { tip, leaf }
  }
  const [prod, elsewhere] = [await begun('hello/prod'), await begun('hello/test')]
  const { body: any, ...activation } = example('activation')
  const active = { environment: 'hello/prod', epoch: 1, outcome: 'active', key: prod.leaf } as const
  await say({ ...activation, body: { ...any, ...active, change: example('change').body.change } })
  await say(change({ environment: 'hello/prod', epoch: 2, tip: prod.tip }))
  const reader = openLedgerReader(deps)
  /** Asks the host's own admission, which may be given another bundle, or another root of trust. */
  const ask = (
    request: Partial<AdmissionRequest> = {},
    { bundle, trust = deps.trust }: { bundle?: unknown; trust?: TrustRoot } = {},
  ) => {
    const other = bundle === undefined ? {} : { bundleOf: async () => bundle }
    const given = { ...reader, ...other, trust: () => trust }
    const view = { store: deps.store, trust, reader: given as typeof reader }
    const memory = { deny: async () => undefined, demandFresh: async () => undefined }
    const asked = { environment: 'hello/prod', digest, definition, key: prod.leaf } as const
    const seen = { epoch: 2, sequence: 1 }
    return createAdmission(view, memory).check({ ...asked, seen, ...request })
  }
  const next = { sequence: 2, epoch: 2, previous: prod.leaf }
  await reader.refresh()
  return {
    ...worker,
    ...deps,
    keys,
    reader,
    definition,
    prod,
    elsewhere,
    next,
    key,
    say,
    logged,
    ask,
  }
}

type Scene = Awaited<ReturnType<typeof scene>>

const entryOf = (bundle: LoggedBundle) => bundle.verificationMaterial.tlogEntries[0]
const envelope = (bundle: LoggedBundle, change: object) => ({
  ...bundle,
  dsseEnvelope: { ...bundle.dsseEnvelope, ...change },
})
const material = (bundle: LoggedBundle, change: object) => ({
  ...bundle,
  verificationMaterial: { ...bundle.verificationMaterial, ...change },
})
const entry = (bundle: LoggedBundle, change: object) =>
  material(bundle, { tlogEntries: [{ ...entryOf(bundle), ...change }] })
const proof = (bundle: LoggedBundle, change: Partial<BundleEntry['inclusionProof']>) =>
  entry(bundle, { inclusionProof: { ...entryOf(bundle).inclusionProof, ...change } })

/** `x` is the right one, `y` that of hello/test; `other` is x of another log by the same signers. */
type Given = { x: LoggedBundle; y: LoggedBundle; other: LoggedBundle; keys: SignerKeys }

function ofOtherOrigin({ x, keys }: Given) {
  const { treeSize, rootHash } = entryOf(x).inclusionProof
  const root = Buffer.from(rootHash, 'base64')
  const note = signCheckpoint({ origin: 'other.local', size: Number(treeSize), root }, keys.log)
  return proof(x, { checkpoint: { envelope: note } })
}

const bad = 'bm90aGluZw=='
const bundles: [what: string, at: KeyCheck['name'], (given: Given) => unknown][] = [
  ['the envelope of another key', 'inclusion', ({ x, y }) => envelope(x, y.dsseEnvelope)],
  [
    'the payload of another key',
    'signature',
    ({ x, y }) => envelope(x, { payload: y.dsseEnvelope.payload }),
  ],
  [
    'the signature of another key',
    'signature',
    ({ x, y }) => envelope(x, { signatures: y.dsseEnvelope.signatures }),
  ],
  ['the log entry of another key', 'inclusion', ({ x, y }) => entry(x, entryOf(y))],
  ['the proof of another entry', 'inclusion', ({ x, y }) => proof(x, entryOf(y).inclusionProof)],
  [
    'a proof of another tree by the same signers',
    'inclusion',
    ({ x, other }) => proof(x, entryOf(other).inclusionProof),
  ],
  [
    'the checkpoint of another tree by the same signers',
    'inclusion',
    ({ x, other }) => proof(x, { checkpoint: entryOf(other).inclusionProof.checkpoint }),
  ],
  ['a checkpoint of another origin', 'inclusion', ofOtherOrigin],
  ['another index', 'inclusion', ({ x }) => entry(proof(x, { logIndex: '0' }), { logIndex: '0' })],
  [
    'a larger tree than its checkpoint’s',
    'inclusion',
    ({ x }) => proof(x, { treeSize: '9007199254740991' }),
  ],
  [
    'another payload type',
    'signature',
    ({ x }) => envelope(x, { payloadType: 'application/json' }),
  ],
  [
    'two signatures, the second bad',
    'signature',
    ({ x }) => envelope(x, { signatures: [...x.dsseEnvelope.signatures, { sig: bad }] }),
  ],
  [
    'two signatures, the first bad',
    'signature',
    ({ x }) => envelope(x, { signatures: [{ sig: bad }, ...x.dsseEnvelope.signatures] }),
  ],
  ['no signature', 'signature', ({ x }) => envelope(x, { signatures: [] })],
  ['no log entry', 'signature', ({ x }) => material(x, { tlogEntries: [] })],
  ['two log entries', 'signature', ({ x, y }) => material(x, { tlogEntries: [x, y].map(entryOf) })],
  [
    'a certificate, which may have ended, for its key',
    'signature',
    ({ x }) => material(x, { publicKey: undefined, certificate: { rawBytes: bad } }),
  ],
  [
    'a time stamp of before its key',
    'signature',
    ({ x }) =>
      material(x, {
        timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: bad }] },
      }),
  ],
  ['an extension that is called critical', 'signature', ({ x }) => ({ ...x, critical: ['hold'] })],
  ['an extension of its log entry', 'signature', ({ x }) => entry(x, { extensions: {} })],
]

/** Nothing is logged in these two any more. */
let here: Scene
let other: Scene
beforeAll(async () => {
  here = await scene()
  other = await scene(here.keys)
})

test.each(bundles)('42 a bundle with %s is refused', async (_what, at, twist) => {
  const [x, y] = [
    await here.reader.bundleOf(here.prod.leaf),
    await here.reader.bundleOf(here.elsewhere.leaf),
  ]
  const bundle = twist({ x, y, other: await other.reader.bundleOf(other.prod.leaf), ...here })
  expect(bundle).not.toEqual(x)
  await here.refused('verification_failed', `${at}: found `, () => here.ask({}, { bundle }))
  expect((await here.ask({}, { bundle: x })).definition).toEqual({ version: 1 })
})

test.each([
  ['a key whose range had ended', { validFrom: 0, validTo: 1 }],
  ['a key whose range had not begun', { validFrom: 5, validTo: null }],
])('42 a bundle by %s when it was logged is refused', async (_what, range) => {
  const roles = here.trust.roles.map((key) => (key.role === 'promote' ? { ...key, ...range } : key))
  const ask = () => here.ask({}, { trust: { ...here.trust, roles } })
  const message = 'inclusion: found the promote key was not valid'
  await expect(here.refused('verification_failed', message, ask)).resolves.toBeUndefined()
})

test('42 JSON in which the payload stands twice is no bundle', async () => {
  const { reader, prod, refused } = here
  const text = Buffer.from(bundleBytes(await reader.bundleOf(prod.leaf))).toString()
  const twice = Buffer.from(text.replace('"payload":', '"payload":"AAAA","payload":'))
  expect(twice).not.toEqual(Buffer.from(text))
  await refused('verification_failed', 'not canonical JSON', async () => parseLoggedBundle(twice))
})

const ff = 'f'.repeat(64)
type Wicked = (here: Scene) => Promise<Partial<AdmissionRequest>> | Partial<AdmissionRequest>
const logs =
  (body: Body<'key'>): Wicked =>
  async ({ say, key, next }) => ({ key: await say(key({ ...next, ...body })) })

const keys: [what: string, at: KeyCheck['name'], Wicked][] = [
  ['for another environment', 'environment', ({ elsewhere: { leaf } }) => ({ key: leaf })],
  ['for another digest', 'digest', () => ({ digest: digestOfHex('2'.repeat(64)) })],
  ['for another definition', 'definition', () => ({ definition: digestOfHex('2'.repeat(64)) })],
  ['after a gap', 'valid in the ledger', logs({ sequence: 3 })],
  ['after another than the last one', 'valid in the ledger', logs({ previous: ff })],
  ['after none, though there is one', 'valid in the ledger', logs({ previous: null })],
  ['with the sequence of the last one', 'valid in the ledger', logs({ sequence: 1 })],
  [
    'with a sequence that was given twice',
    'valid in the ledger',
    async (own) => {
      await own.say(own.key(own.next))
      return logs({})(own)
    },
  ],
  ['of an epoch that is over', 'valid in the ledger', logs({ epoch: 1 })],
  ['of an epoch that was not begun', 'valid in the ledger', logs({ epoch: 3 })],
  ['for another digest than its change’s', 'digest', logs({ digest: digestOfHex('2'.repeat(64)) })],
]

test.each(keys)('43 a key %s is refused', async (_what, at, wicked) => {
  const own = await scene()
  const request = await wicked(own)
  await own.refused('verification_failed', `${at}: found `, () => own.ask(request))
  expect((await own.ask()).definition).toEqual({ version: 1 })
})

/** A field more in the key's own part of the statement, or other spellings of it, canonical or not. */
const spellings: [what: string, spell: (text: string) => string][] = [
  ['a time at which it ends', (text) => text.replace('"epoch":', '"ends":"2030","epoch":')],
  ['sequence 2^53 + 1', (text) => text.replace('"sequence":2', '"sequence":9007199254740993')],
  ['sequence 2.0', (text) => text.replace('"sequence":2', '"sequence":2.0')],
  ['sequence "2"', (text) => text.replace('"sequence":2', '"sequence":"2"')],
  ['a space before it', (text) => ` ${text}`],
  ['a line feed after it', (text) => `${text}\n`],
  ['a byte order mark before it', (text) => `\ufeff${text}`],
  ['lines', (text) => JSON.stringify(JSON.parse(text), null, 2)],
  ['its fields in another order', (text) => reversed(text)],
  ['a letter as its number', (text) => text.replace('"hello/prod"', '"\\u0068ello/prod"')],
  ['a field twice', (text) => text.replace('{"_type"', '{"_type":"x","_type"')],
  ['half of it', (text) => text.slice(0, text.length / 2)],
]

function reversed(text: string): string {
  const fields = Object.entries(JSON.parse(text) as Record<string, unknown>)
  return JSON.stringify(Object.fromEntries(fields.toReversed()))
}

test.each(spellings)('43 a key with %s counts for nothing', async (_what, spell) => {
  const own = await scene()
  const right = Buffer.from(statementBytes(own.key(own.next), origin)).toString()
  const wrong = spell(right)
  expect(wrong).not.toBe(right)
  const key = await own.logged(Buffer.from(wrong))
  const { lines, run } = own
  await expect(run(() => own.ask({ key }))).rejects.toMatchObject({ type: 'not_found' })
  expect(lines).toMatchObject([
    { msg: 'a ledger entry counts for nothing', reason: expect.stringMatching(/\S/) as string },
    { msg: 'activity failed', code: 'not_found' },
  ])
  // The right one is the environment's next key all the same.
  expect((await own.ask({ key: await own.logged(Buffer.from(right)) })).definition).toEqual({
    version: 1,
  })
})

test('43 a key by another role counts for nothing', async () => {
  const own = await scene()
  const payload = statementBytes(own.key(own.next), origin)
  const key = await own.logged(payload, 'record')
  await expect(own.run(() => own.ask({ key }))).rejects.toMatchObject({ type: 'not_found' })
  expect(own.lines).toMatchObject([
    { reason: expect.stringContaining('record role') as string },
    { code: 'not_found' },
  ])
})

test('43 a ledger that ends before what the host saw is refused', async () => {
  const ask = () => here.ask({ seen: { epoch: 3, sequence: 1 } })
  const message = 'this host has seen epoch 3'
  await expect(here.refused('verification_failed', message, ask)).resolves.toBeUndefined()
})
