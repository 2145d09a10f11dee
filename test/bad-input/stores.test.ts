import { chmodSync, cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { signCheckpoint, parseCheckpoint } from '../../signing/checkpoint.ts'
import type { ErrorCode } from '../../src/domain/error.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { oneChunk } from '../../src/oci/write-image.ts'
import type { BlobStore, HeadStore } from '../../src/store/blob-store.ts'
import { probeS3 } from '../../src/store/probe-s3.ts'
import { openS3Head } from '../../src/store/s3-head.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { folderSigner, memorySigner, origin } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { startGateway, type Gateway } from '../helpers/s3-gateway.ts'
import { startRelay, type Answer, type Asked, type Relay, type Twist } from '../helpers/s3-relay.ts'
import { memoryKeys } from '../helpers/signed-log.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from '../signing/examples.ts'
import { keys } from '../store/keys.ts'
import { workerAtHand } from './worker-log.ts'

/** Numbers 44, 45 and 47 of the catalogue in docs/bad-input.md: what an object store answers, keeps and loses. */
const worker = workerAtHand()
const { told, run, logger } = worker

const xml = (code: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>Please try again.</Message></Error>`
const failure = (status: number, code: string, end = '\n'): Answer => ({
  status,
  headers: { 'content-type': 'application/xml' },
  body: Buffer.from(`${xml(code)}${end}`),
})

const isList = ({ key, query }: Asked) => key === '' && query.has('list-type')
const taken: Twist = ({ method }, pass) =>
  method === 'PUT' ? Promise.resolve(failure(412, 'PreconditionFailed')) : pass()

function flipped(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  const at = Math.floor(changed.length / 2)
  changed.writeUInt8((changed[at] ?? 0) ^ 1, at)
  return changed
}

describe('an S3 service', () => {
  let gateway: Gateway
  let relay: Relay
  let store: BlobStore
  let head: HeadStore
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => gateway.stop())
  beforeEach(async () => {
    relay = await startRelay(gateway.settings())
    ;[store, head] = [openS3Store(relay.settings), openS3Head(relay.settings)]
    return relay.close
  })

  /** A blob that goes up in parts. */
  const large = Buffer.alloc(8 * 1024 * 1024 + 1, 7)
  const one = Buffer.from('one')

  type Request = [what: string, is: (asked: Asked) => boolean, attempt: () => Promise<unknown>]
  const requests: Request[] = [
    ['storing an object', ({ method }) => method === 'PUT', () => store.put('probe/two', one)],
    ['moving the head', ({ method }) => method === 'PUT', () => head.swap(undefined, one)],
    ['reading an object', ({ method }) => method === 'GET', () => store.get('probe/one')],
    ['reading the head', ({ key }) => key === 'head', () => head.read()],
    ['an object’s size', ({ method }) => method === 'HEAD', () => store.size('probe/one')],
    ['a listing', isList, () => keys(store, 'probe/')],
    ['an upload’s begin', ({ query }) => query.has('uploads'), () => upload()],
    ['a part of an upload', ({ query }) => query.get('partNumber') === '2', () => upload()],
    [
      'an upload’s end',
      ({ method, query }) => method === 'POST' && query.has('uploadId'),
      () => upload(),
    ],
  ]
  const upload = () => store.putBlob(oneChunk(large))

  test.each(requests)(
    '44 that answers %s with 200 and an error in XML did not do it, and may be asked again',
    async (_what, is, attempt) => {
      await store.put('probe/one', one)
      let twisted = 0
      relay.twist((asked, pass) => {
        if (!is(asked)) return pass()
        twisted += 1
        return Promise.resolve(failure(200, 'InternalError'))
      })
      await worker.refused('store_unavailable', 'the object store answers, but not as', attempt)
      expect(twisted).toBeGreaterThan(0)
      relay.twist()
      await attempt()
      expect(await store.get('probe/one')).toEqual(one)
    },
  )

  const writes = ['storing an object', 'moving the head', 'an upload’s end']
  test.each(requests.filter(([what]) => writes.includes(what)))(
    '44 that does %s and answers with 200 and an error: doing it again is the same',
    async (_what, is, attempt) => {
      await store.put('probe/one', one)
      relay.twist(async (asked, pass) => {
        const answer = await pass()
        return is(asked) ? failure(200, 'InternalError') : answer
      })
      expect(await told(() => attempt())).toEqual({ code: 'store_unavailable', again: true })
      relay.twist()
      await attempt()
    },
  )

  test.each<[string, Twist]>([
    ['that ends with no word whether it goes on', edited(/<IsTruncated>.*?<\/IsTruncated>/g, '')],
    ['that goes on, and does not say where', edited('<IsTruncated>false', '<IsTruncated>true')],
  ])('44 a listing %s is none', async (_what, twist) => {
    await store.put('probe/one', one)
    relay.twist(twist)
    await expect(
      worker.refused('store_unavailable', 'a listing that', () => keys(store, 'probe/')),
    ).resolves.toBeUndefined()
  })

  function edited(what: string | RegExp, by: string): Twist {
    return async (asked, pass) => {
      const answer = await pass()
      if (!isList(asked)) return answer
      return { ...answer, body: Buffer.from(answer.body.toString().replace(what, by)) }
    }
  }

  const stale = edited(/<Contents>.*<\/Contents>/gs, '')

  test('44 whose listing lacks what was just written is refused at the start; the log asks for no listing', async () => {
    const ledger = openLedger(world())
    relay.twist(stale)
    await store.put('probe/one', one)
    expect(await keys(store, 'probe/')).toEqual([])
    expect(await told(() => probeS3(relay.settings))).toEqual({
      code: 'store_unsuitable',
      again: false,
    })
    const { leaf } = await ledger.decide({ id: '1', signable: example('drift') })
    await ledger.publishedBundle(leaf)
    const reader = openLedgerReader(world())
    expect((await reader.refresh()).size).toBe(1)
  })

  test('44 that says a name is taken, and then that nothing is there, is no other object', async () => {
    relay.twist(taken)
    for (const attempt of [
      () => store.put('probe/one', one),
      () => store.putBlob(oneChunk(one)),
      () => store.putBlob(oneChunk(Buffer.alloc(0))),
    ])
      await worker.refused('store_unavailable', 'is taken, and a moment later not there', attempt)
    expect(await store.get('probe/one')).toBeUndefined()
  })

  const signer = memorySigner()
  const world = () => ({
    store,
    head,
    signer: memorySigner(signer.keys),
    trust: signer.trust,
    logger,
  })

  const parts: [what: string, key: RegExp][] = [
    ['a tile', /^tile\/0\//],
    ['a tile of entries', /^tile\/entries\//],
    ['a bundle', /^bundles\/leaf\//],
  ]
  const faults: [what: string, code: ErrorCode, fault: (answer: Answer) => Answer][] = [
    ['missing', 'ledger_corrupt', () => failure(404, 'NoSuchKey')],
    ['cut short', 'ledger_corrupt', (answer) => ({ ...answer, body: answer.body.subarray(0, 32) })],
    ['changed by a bit', 'ledger_corrupt', (answer) => ({ ...answer, body: flipped(answer.body) })],
    ['an error in XML', 'store_unavailable', () => failure(200, 'InternalError')],
  ]

  test('44 part by part: a log in which one is missing, short, changed or an error is refused, and read when it is whole', async () => {
    const ledger = openLedger(world())
    for (const n of [1, 2]) await ledger.decide({ id: `${n}`, signable: example('drift', n) })
    for (const [part, key] of parts) {
      for (const [fault, code, twisted] of faults) {
        const reader = openLedgerReader(world())
        relay.twist(async (asked, pass) => {
          const answer = await pass()
          return key.test(asked.key) ? twisted(answer) : answer
        })
        const { code: found } = await told(() => reader.refresh())
        expect([part, fault, found]).toEqual([part, fault, code])
        relay.twist()
        expect((await reader.refresh()).size).toBe(2)
      }
    }
  })

  test.each<[string, ErrorCode, (answer: Answer) => Answer]>([
    ['missing', 'ledger_forked', () => failure(404, 'NoSuchKey')],
    ['missing, and so is its bucket', 'store_unavailable', () => failure(404, 'NoSuchBucket')],
    [
      'cut short',
      'verification_failed',
      (answer) => ({ ...answer, body: answer.body.subarray(0, -1) }),
    ],
    [
      'changed by a bit',
      'verification_failed',
      (answer) => ({ ...answer, body: flipped(answer.body) }),
    ],
    ['an error in XML', 'store_unavailable', () => failure(200, 'InternalError', '')],
  ])('44 a head that is %s is refused by who saw it', async (_what, code, twisted) => {
    await openLedger(world()).decide({ id: '1', signable: example('drift') })
    const reader = openLedgerReader(world())
    await reader.refresh()
    relay.twist(async (asked, pass) => {
      const answer = await pass()
      if (asked.key !== 'head') return answer
      return twisted({ ...answer, headers: { ...answer.headers, etag: '"another"' } })
    })
    expect(await told(() => reader.refresh())).toMatchObject({ code })
    relay.twist()
    expect((await reader.refresh()).size).toBe(1)
  })

  test('47 in a storm of SlowDown nothing is acknowledged that is not there; after it each decision is there once', async () => {
    const ledger = openLedger(world())
    const decide = (n: number) => ledger.decide({ id: `${n}`, signable: example('drift', n) })
    const kept = await decide(0)
    relay.twist(() => Promise.resolve(failure(503, 'SlowDown')))
    for (const refusal of await Promise.allSettled([1, 2, 3].map((n) => run(() => decide(n)))))
      expect(refusal).toMatchObject({ reason: { type: 'store_unavailable', nonRetryable: false } })
    const error = expect.stringContaining('SlowDown') as string
    expect(worker.lines.slice(-3)).toMatchObject(
      [1, 2, 3].map(() => ({ code: 'store_unavailable', error })),
    )
    // A gust that is over before the client gives up is not even noticed.
    let gust = 2
    relay.twist((_asked, pass) => (gust-- > 0 ? Promise.resolve(failure(503, 'SlowDown')) : pass()))
    await Promise.all([0, 1, 2, 3].map(decide))
    const reader = openLedgerReader(world())
    expect((await reader.refresh()).size).toBe(4)
    expect(reader.facts()[0]).toEqual(kept.fact)
    expect((await fsck(world())).problems).toEqual([])
  })
})

/** The store, the signer's memory and what a reader saw: today, and as they were yesterday. */
async function twoDays() {
  const folder = scratch()
  const [now, yesterday] = [join(folder, 'keys'), join(folder, 'yesterday')]
  const signer = await folderSigner(now)
  const today = memoryStore()
  const ledger = openLedger({ ...today, signer, trust: signer.trust, logger })
  await ledger.decide({ id: '1', signable: example('drift', 1) })
  cpSync(now, yesterday, { recursive: true })
  chmodSync(yesterday, 0o700)
  const old = await copyOf(today)
  await ledger.decide({ id: '2', signable: example('drift', 2) })
  const reader = openLedgerReader({ ...today, trust: signer.trust, logger })
  await reader.refresh()
  const seen = reader.checkpoint()?.note ?? ''
  return { signer, today, old, seen, yesterday: await folderSigner(yesterday), reader }
}

async function copyOf({ objects, head }: ReturnType<typeof memoryStore>) {
  const copy = memoryStore()
  for (const [key, bytes] of objects) copy.objects.set(key, bytes)
  await copy.head.swap(undefined, (await head.read())?.bytes ?? Buffer.alloc(0))
  return copy
}

type Days = Awaited<ReturnType<typeof twoDays>>

const putBack: [what: string, code: ErrorCode, attempt: (days: Days) => Promise<unknown>][] = [
  [
    'the store, at the server’s start',
    'ledger_corrupt',
    ({ old, signer }) => openLedger({ ...old, signer, trust: signer.trust, logger }).complete(),
  ],
  [
    'the store, before a decision',
    'ledger_corrupt',
    ({ old, signer }) =>
      openLedger({ ...old, signer, trust: signer.trust, logger }).decide({
        id: '3',
        signable: example('drift', 3),
      }),
  ],
  [
    'the store, for who saw it today and starts anew',
    'ledger_forked',
    ({ old, signer, seen }) =>
      openLedgerReader({ ...old, trust: signer.trust, logger, seen }).refresh(),
  ],
  [
    'the store and the signer’s memory, for who saw it today',
    'ledger_forked',
    async ({ old, yesterday, seen }) => {
      await openLedger({ ...old, signer: yesterday, trust: yesterday.trust, logger }).complete()
      await openLedgerReader({ ...old, trust: yesterday.trust, logger, seen }).refresh()
    },
  ],
  [
    'both, and the log then went another way, for who saw it today',
    'ledger_forked',
    async ({ old, yesterday, seen }) => {
      const ledger = openLedger({ ...old, signer: yesterday, trust: yesterday.trust, logger })
      for (const n of [3, 4]) await ledger.decide({ id: `${n}`, signable: example('drift', n) })
      await openLedgerReader({ ...old, trust: yesterday.trust, logger, seen }).refresh()
    },
  ],
]

test.each(putBack)('45 of yesterday: %s is refused', async (_what, code, attempt) => {
  const days = await twoDays()
  expect(await told(() => attempt(days))).toEqual({ code, again: false })
  expect((await days.reader.refresh()).size).toBe(2)
})

type Note = (days: Days) => Promise<string>
const noteOf = async ({ head }: Pick<Days['old'], 'head'>) =>
  Buffer.from((await head.read())?.bytes ?? []).toString()
const resigned =
  (change: Partial<ReturnType<typeof parseCheckpoint>['checkpoint']>): Note =>
  async ({ today, signer }) => {
    const { checkpoint } = parseCheckpoint(await noteOf(today))
    return signCheckpoint({ ...checkpoint, ...change }, signer.keys.log)
  }

const notes: [what: string, code: ErrorCode, note: Note][] = [
  ['an older one', 'ledger_forked', ({ old }) => noteOf(old)],
  ['of the same size with another root', 'ledger_corrupt', resigned({ root: Buffer.alloc(32, 1) })],
  ['of a larger tree that is not there', 'ledger_corrupt', resigned({ size: 9 })],
  ['of another origin', 'verification_failed', resigned({ origin: 'other.local' })],
  [
    'by another key',
    'verification_failed',
    async ({ today }) =>
      signCheckpoint(parseCheckpoint(await noteOf(today)).checkpoint, memoryKeys().log),
  ],
  [
    'with another size in its text',
    'verification_failed',
    async ({ today }) => (await noteOf(today)).replace('\n2\n', '\n3\n'),
  ],
  [
    'without its signature',
    'verification_failed',
    async ({ today }) => (await noteOf(today)).split('—')[0] ?? '',
  ],
]

test.each(notes)('44 a checkpoint %s is refused', async (_what, code, note) => {
  const days = await twoDays()
  const shown = await note(days)
  expect(shown).not.toBe(await noteOf(days.today))
  const head = { read: async () => ({ bytes: Buffer.from(shown), version: 'shown' }) }
  const { trust } = days.signer
  expect(trust.origin).toBe(origin)
  const reader = openLedgerReader({ ...days.today, head, trust, logger, seen: days.seen })
  expect(await told(() => reader.refresh())).toEqual({ code, again: false })
  expect(reader.ledger().size).toBe(0)
})
