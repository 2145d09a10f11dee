import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { parseCheckpoint } from '../../signing/checkpoint.ts'
import { parseLoggedBundle } from '../../signing/bundle.ts'
import { rootOf } from '../../signing/merkle.ts'
import { verifyBundle } from '../../signing/verify.ts'
import type { Signable } from '../../signing/statement.ts'
import { fsck } from '../../src/ledger/fsck.ts'
import { openLedgerReader, type LedgerReader } from '../../src/ledger/ledger-reader.ts'
import { openLedger, type LedgerWriterDeps } from '../../src/ledger/ledger-writer.ts'
import { readTiles } from '../../src/ledger/tiles.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { memoryStore, type Fault, type FaultPlan } from '../helpers/memory-store.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })

function world(fault?: FaultPlan) {
  const signer = memorySigner()
  const deps = { ...memoryStore(fault), signer, trust: signer.trust, logger }
  return { ...deps, deps, ledger: openLedger(deps), reader: openLedgerReader(deps) }
}

async function shown(reader: LedgerReader) {
  await reader.refresh()
  return reader.facts()
}

/** A refusal that says `text`. */
function refusal(text: string): Signable {
  const { body, ...rest } = example('refusal')
  return { ...rest, body: { ...body, message: text } }
}

/** The first change of an environment: of two, the log's order voids the second. */
function firstChange(change: string): Signable {
  const { body, ...rest } = example('change')
  return { ...rest, body: { ...body, environment: 'hello/dev', epoch: 1, tip: null, change } }
}

async function refuseToSign(): Promise<never> {
  throw new Error('asked to sign')
}

/** Every checkpoint that was ever signed is a beginning of the log as it is now. */
async function expectPrefixes({ store, reader, signer }: ReturnType<typeof world>): Promise<void> {
  const size = reader.checkpoint()?.size ?? 0
  const hashes: Uint8Array[] = []
  for await (const tile of readTiles(store, 0, { from: 0, to: size })) hashes.push(...tile)
  for (const note of signer.notes) {
    const { checkpoint } = parseCheckpoint(note)
    expect(Buffer.from(rootOf(hashes.slice(0, checkpoint.size))).toString('hex')).toBe(
      Buffer.from(checkpoint.root).toString('hex'),
    )
  }
}

describe('a decision', () => {
  test('is signed, stored, logged, read back, and what any other process reads', async () => {
    const { ledger, reader, trust, store } = world()
    const signable = refusal('one')
    const decided = await ledger.decide({ id: 'one', signable })
    expect(decided).toMatchObject({ index: 0, fact: { kind: 'refusal', body: { message: 'one' } } })
    expect(await shown(reader)).toEqual([decided.fact])
    const { key, bytes } = await ledger.publishedBundle(decided.leaf)
    const verified = verifyBundle(parseLoggedBundle(bytes), trust, { kind: 'refusal' })
    expect(verified).toMatchObject({ leaf: decided.leaf, index: 0, fact: decided.fact })
    expect(Buffer.from((await store.get(key)) ?? []).equals(Buffer.from(bytes))).toBe(true)
    await ledger.decide({ id: 'two', signable: refusal('two') })
    expect((await ledger.publishedBundle(decided.leaf)).bytes).toEqual(bytes)
  })

  test('made again is the first one, whatever it says now', async () => {
    const { ledger, reader, deps } = world()
    const first = await ledger.decide({ id: 'one', signable: refusal('first') })
    expect(await ledger.decide({ id: 'one', signable: refusal('second') })).toEqual(first)
    // Signing is randomised: another signature would be another leaf, so nothing is signed again.
    const restarted = openLedger({ ...deps, signer: { ...deps.signer, sign: refuseToSign } })
    expect(await restarted.decide({ id: 'one', signable: refusal('third') })).toEqual(first)
    expect(await shown(reader)).toEqual([first.fact])
  })

  test('made many times at once is logged once, and many share a checkpoint', async () => {
    const { ledger, reader, signer } = world()
    const decided = await Promise.all(
      Array.from({ length: 700 }, (_, n) =>
        ledger.decide({ id: `${n % 600}`, signable: refusal(`${n % 600}`) }),
      ),
    )
    expect(new Set(decided.map(({ index }) => index)).size).toBe(600)
    expect((await shown(reader)).map((fact) => fact.index)).toEqual(
      Array.from({ length: 600 }, (_, n) => n),
    )
    expect(signer.notes.length).toBeLessThan(60)
  })

  test('that lost its race is void, and says so every time', async () => {
    const { ledger, reader } = world()
    const [one, two] = [firstChange('c1'), firstChange('c2')]
    await ledger.decide({ id: 'c1', signable: one })
    for (let n = 0; n < 2; n += 1) {
      await expect(ledger.decide({ id: 'c2', signable: two })).rejects.toMatchObject({
        code: 'lost_race',
      })
    }
    const facts = await shown(reader)
    expect(facts).toHaveLength(2)
    expect(reader.ledger().void).toEqual(new Set([facts[1]?.leaf]))
  })

  test('is not logged when the signer signs something else', async () => {
    const { deps, reader } = world()
    const { signer } = deps
    const wicked = { ...signer, sign: async () => await signer.sign(refusal('other')) }
    await expect(
      openLedger({ ...deps, signer: wicked }).decide({ id: 'one', signable: refusal('one') }),
    ).rejects.toMatchObject({ code: 'verification_failed' })
    expect(await shown(reader)).toEqual([])
  })

  test('is verified against what was wanted', async () => {
    const { ledger } = world()
    const { leaf, fact } = await ledger.decide({ id: 'p', signable: example('provenance') })
    await ledger.verify(leaf, { kind: 'provenance', artifact: fact.artifact })
    await expect(ledger.verify(leaf, { kind: 'sbom', artifact: null })).rejects.toMatchObject({
      code: 'verification_failed',
    })
  })
})

describe('order: nobody hears of what is not durable', () => {
  test('bundle, staged leaves, checkpoint, tiles, head', async () => {
    const writes: string[] = []
    const { deps } = world(({ key }) => void writes.push(key))
    const { signer } = deps
    const noting = {
      ...signer,
      checkpoint: async (request: Parameters<typeof signer.checkpoint>[0]) => {
        writes.push('checkpoint')
        return await signer.checkpoint(request)
      },
    }
    const { leaf } = await openLedger({ ...deps, signer: noting }).decide({
      id: 'one',
      signable: refusal('one'),
    })
    const kinds = writes.map((key) => key.split('/').slice(0, 2).join('/'))
    expect(kinds.slice(0, 2)).toEqual(['bundles/decision', 'bundles/leaf'])
    expect(kinds[2]).toMatch(/^staging\/1-/)
    expect(kinds[3]).toBe('checkpoint')
    expect(kinds.slice(4, 6).toSorted()).toEqual(['tile/0', 'tile/entries'])
    expect(kinds.slice(6)).toEqual(['head'])
    expect(writes[1]).toBe(`bundles/leaf/${leaf}`)
  })

  test.each<Fault>(['lost', 'landed'])(
    'with any one write %s the decision made again is in the log once',
    async (fault) => {
      for (let broken = 0; broken < 10; broken += 1) {
        let count = 0
        const own = world(() => (count++ === broken ? fault : undefined))
        const { deps, ledger, reader } = own
        const outcomes = await Promise.allSettled([
          ledger.decide({ id: 'one', signable: refusal('one') }),
          ledger.decide({ id: 'two', signable: refusal('two') }),
        ])
        const again = broken % 2 === 0 ? ledger : openLedger(deps)
        const one = await again.decide({ id: 'one', signable: refusal('one') })
        const two = await again.decide({ id: 'two', signable: refusal('two') })
        expect((await shown(reader)).toSorted((a, b) => a.index - b.index)).toEqual(
          [one.fact, two.fact].toSorted((a, b) => a.index - b.index),
        )
        const heard = outcomes.flatMap((outcome) =>
          outcome.status === 'fulfilled' ? [outcome.value.leaf] : [],
        )
        expect([one.leaf, two.leaf]).toEqual(expect.arrayContaining(heard))
        await expectPrefixes(own)
        expect((await fsck(deps)).problems).toEqual([])
      }
    },
  )
})

describe('two writers over one store and one signer', () => {
  test('never fork, and log each decision once', async () => {
    const own = world()
    const { deps, reader } = own
    const writers = [openLedger(deps), openLedger(deps), openLedger(deps)]
    const decided = await Promise.all(
      Array.from({ length: 120 }, (_, n) =>
        writers[n % 3]!.decide({ id: `${n % 60}`, signable: refusal(`${n % 60}`) }),
      ),
    )
    expect(new Set(decided.map(({ leaf }) => leaf)).size).toBe(60)
    expect(await shown(reader)).toHaveLength(60)
    await expectPrefixes(own)
    expect((await fsck(deps)).problems).toEqual([])
  })

  test('one goes on when the other died after its leaves were staged, or its checkpoint signed', async () => {
    const points = ['ledger.staged', 'ledger.checkpoint-signed', 'ledger.tiles-stored']
    for (const point of points) {
      const own = world()
      const dying: LedgerWriterDeps = {
        ...own.deps,
        crashPoint: (name) => {
          if (name === point) throw new Error('died')
        },
      }
      const first = openLedger(dying)
      const died = ['a', 'b'].map((id) => first.decide({ id, signable: refusal(id) }))
      await Promise.allSettled(died)
      // Not the same batch: alone, in the other order, with something new between.
      for (const id of ['b', 'c', 'a']) {
        await own.ledger.decide({ id, signable: refusal(id) })
      }
      expect(await shown(own.reader)).toHaveLength(3)
      await expectPrefixes(own)
      expect((await fsck(own.deps)).problems).toEqual([])
    }
  })

  test('a store whose log is another than the signer signed is refused, nothing is signed', async () => {
    const own = world()
    const other = memorySigner(own.signer.keys)
    await own.ledger.decide({ id: 'a', signable: refusal('a') })
    await own.ledger.decide({ id: 'b', signable: refusal('b') })
    const elsewhere = { ...own.deps, ...memoryStore(), signer: other }
    await openLedger(elsewhere).decide({ id: 'a', signable: refusal('other') })
    const mixed = openLedger({ ...own.deps, signer: other })
    await expect(mixed.decide({ id: 'c', signable: refusal('c') })).rejects.toMatchObject({
      code: 'ledger_forked',
    })
    expect(other.notes).toHaveLength(1)
  })

  test('what the signer signed and the store has lost is not papered over', async () => {
    const own = world()
    await own.ledger.decide({ id: 'a', signable: refusal('a') })
    const older = memoryStore()
    const behind = openLedger({ ...own.deps, ...older })
    await expect(behind.decide({ id: 'b', signable: refusal('b') })).rejects.toMatchObject({
      code: 'ledger_corrupt',
    })
    expect(await older.head.read()).toBeUndefined()
  })
})
