import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { statementBytes } from '../../signing/statements.ts'
import { signPayload } from '../../signing/sign.ts'
import { bundleBytes, envelopeOf } from '../../signing/bundle.ts'
import { encodeLeaf, leafName, leafOfEnvelope } from '../../signing/leaf.ts'
import { currentKey, derOf } from '../../signing/trust.ts'
import { openAppender } from '../../src/ledger/appender.ts'
import { leafBundleKey } from '../../src/ledger/entry.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { openFolderHead } from '../../src/store/folder-head.ts'
import { memorySigner, origin } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { memoryKeys } from '../helpers/signed-log.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })

function world(keys = memoryKeys()) {
  const signer = memorySigner(keys)
  const memory = memoryStore()
  const deps = { ...memory, signer, trust: signer.trust, logger }
  return { ...deps, deps, ledger: openLedger(deps), reader: openLedgerReader(deps) }
}

async function fill({ ledger }: ReturnType<typeof world>, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    await ledger.decide({ id, signable: example('drift', Number(id)) })
  }
}

describe('a reader', () => {
  test('folds on from where it was, and gives proofs in the newest tree', async () => {
    const own = world()
    expect(own.reader.checkpoint()).toBeNull()
    expect((await own.reader.refresh()).size).toBe(0)
    await fill(own, ['1', '2', '3'])
    await Promise.all([own.reader.refresh(), own.reader.refresh(), own.reader.refresh()])
    const [first] = own.reader.facts()
    await fill(own, ['4'])
    await own.reader.refresh()
    expect(own.reader.facts(2).map((fact) => fact.index)).toEqual([2, 3])
    expect(own.reader.facts(9)).toEqual([])
    const bundle = await own.reader.bundleOf(first?.leaf ?? '')
    expect(bundle.verificationMaterial.tlogEntries[0].inclusionProof.treeSize).toBe('4')
    await expect(own.reader.bundleOf('0'.repeat(64))).rejects.toMatchObject({ code: 'not_found' })
  })

  test("finds an environment's key by its sequence, and only a valid one", async () => {
    const { ledger, reader } = world()
    const change = example('change')
    const target = change.body.target
    await ledger.decide({
      id: 'change',
      signable: {
        ...change,
        body: {
          ...change.body,
          environment: 'hello/dev',
          epoch: 1,
          tip: null,
          changeKind: 'promotion',
        },
      },
    })
    const key = example('key')
    const body = { ...key.body, ...target, environment: 'hello/dev' as const, epoch: 1 }
    const right = { ...key, body: { ...body, sequence: 1, previous: null } }
    const { leaf } = await ledger.decide({ id: 'key', signable: right })
    const late = { ...key, body: { ...body, sequence: 2, previous: leaf } }
    await expect(ledger.decide({ id: 'late', signable: late })).rejects.toMatchObject({
      code: 'lost_race',
    })
    await reader.refresh()
    expect(reader.keyOf('hello/dev', 1)?.leaf).toBe(leaf)
    expect(reader.keyOf('hello/dev', 2)).toBeUndefined()
  })

  test('refuses a log that is shorter than the one it saw, or gone', async () => {
    const own = world()
    await fill(own, ['1'])
    const before = await own.head.read()
    await fill(own, ['2'])
    const shown = { read: async () => await own.head.read() }
    const reader = openLedgerReader({ ...own.deps, head: shown })
    await reader.refresh()
    shown.read = async () => ({ bytes: before?.bytes ?? Buffer.alloc(0), version: 'older' })
    await expect(reader.refresh()).rejects.toMatchObject({ code: 'ledger_forked' })
    shown.read = async () => undefined
    await expect(reader.refresh()).rejects.toMatchObject({ code: 'ledger_forked' })
    expect(reader.ledger().size).toBe(2)
  })

  test('refuses a log that goes on from another beginning, of the same size or longer', async () => {
    const keys = memoryKeys()
    const [one, two] = [world(keys), world(keys)]
    await fill(one, ['1', '2'])
    await fill(two, ['1', '3'])
    for (const longer of [[], ['4', '5']]) {
      await fill(two, longer)
      const store = { ...one.store }
      const shown = { read: () => one.head.read() }
      const reader = openLedgerReader({ ...one.deps, store, head: shown })
      await reader.refresh()
      Object.assign(store, two.store)
      shown.read = async () => {
        const head = await two.head.read()
        return head && { ...head, version: 'other' }
      }
      await expect(reader.refresh()).rejects.toMatchObject({ code: 'ledger_forked' })
    }
  })

  test('started again it still knows what it saw', async () => {
    const keys = memoryKeys()
    const [one, two] = [world(keys), world(keys)]
    await fill(one, ['1', '2'])
    await one.reader.refresh()
    const seen = one.reader.checkpoint()?.note ?? ''
    const forked = { code: 'ledger_forked' }
    const open = () => openLedgerReader({ ...two.deps, seen })
    await expect(open().refresh()).rejects.toMatchObject(forked)
    await fill(two, ['1'])
    await expect(open().refresh()).rejects.toMatchObject(forked)
    await fill(two, ['3', '4'])
    await expect(open().refresh()).rejects.toMatchObject(forked)
    await fill(one, ['5'])
    expect((await openLedgerReader({ ...one.deps, seen }).refresh()).size).toBe(3)
  })

  test('refuses checkpoints that another key signed', async () => {
    const [one, two] = [world(), world()]
    await fill(one, ['1'])
    const reader = openLedgerReader({ ...one.deps, trust: two.trust })
    await expect(reader.refresh()).rejects.toMatchObject({ code: 'verification_failed' })
  })

  test('stops at what is damaged or missing, and goes on when it is whole again', async () => {
    const own = world()
    await fill(own, ['1', '2'])
    const keys = [...own.objects.keys()].filter(
      (key) => /^tile\/(0|entries)\/000\.p\/2$/.test(key) || key.startsWith('bundles/leaf/'),
    )
    expect(keys).toHaveLength(4)
    for (const key of keys) {
      const reader = openLedgerReader(own.deps)
      const bytes = own.objects.get(key) ?? Buffer.alloc(0)
      own.objects.delete(key)
      await expect(reader.refresh()).rejects.toMatchObject({ code: 'ledger_corrupt' })
      const flipped = Uint8Array.from(bytes)
      flipped[40] = (flipped[40] ?? 0) ^ 1
      own.objects.set(key, flipped)
      await expect(reader.refresh()).rejects.toMatchObject({ code: 'ledger_corrupt' })
      own.objects.set(key, bytes)
      expect((await reader.refresh()).size).toBe(2)
      expect(reader.facts()).toHaveLength(2)
    }
  })

  test("another bundle under a leaf's name does not pass, however well it is signed", async () => {
    const own = world()
    await fill(own, ['1', '2'])
    const [one, two] = own.ledger.facts().map((fact) => leafBundleKey(fact.leaf))
    own.objects.set(one ?? '', own.objects.get(two ?? '') ?? Buffer.alloc(0))
    await expect(own.reader.refresh()).rejects.toMatchObject({ code: 'ledger_corrupt' })
  })

  test('passes over what other tools logged, and counts for nothing what a key may not say', async () => {
    const own = world()
    const appender = openAppender({ ...own.deps, crashPoint: () => {} })
    await appender.append(Buffer.from('{"kind":"other"}'))
    const strange = derOf(currentKey(memorySigner().trust, 'record').publicKey)
    await appender.append(
      encodeLeaf({ digest: Buffer.alloc(32), signature: Buffer.from('s'), publicKey: strange }),
    )
    // Denials by keys that may not deny, that which consumers pin among them.
    const payload = statementBytes(example('denial'), origin)
    for (const role of ['record', 'promote'] as const) {
      const bundle = await signPayload(payload, own.signer.keys.roles[role])
      const key = derOf(currentKey(own.trust, role).publicKey)
      const leaf = leafOfEnvelope(envelopeOf(bundle), key)
      await own.store.put(leafBundleKey(leafName(leaf)), bundleBytes(bundle))
      await appender.append(leaf)
    }

    const { fact } = await own.ledger.decide({ id: '1', signable: example('drift') })
    expect(fact.index).toBe(4)
    const known = await own.reader.refresh()
    expect(own.reader.facts()).toEqual([fact])
    expect(known.denied.size).toBe(0)
  })

  test('an outage of the head is an outage, not an empty log', async () => {
    const own = world()
    const down = { read: async () => Promise.reject(new KilnError('store_unavailable', 'down')) }
    const reader = openLedgerReader({ ...own.deps, head: down })
    await expect(reader.refresh()).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await openFolderHead({ root: scratch() }).read()).toBeUndefined()
  })
})
