import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../signing/canonical.ts'
import { parseLoggedBundle } from '../../signing/bundle.ts'
import { verifyBundle } from '../../signing/verify.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import { openLedgerReader } from '../../src/ledger/ledger-reader.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { example } from '../signing/examples.ts'

const logger = pino({ level: 'silent' })

function world() {
  const signer = memorySigner()
  const memory = memoryStore()
  const deps = { ...memory, signer, trust: signer.trust, logger }
  return { ...deps, ledger: openLedger(deps), reader: openLedgerReader(deps) }
}

describe('a decision', () => {
  test('is signed, stored, logged, read back and seen by every reader', async () => {
    const { ledger, reader, trust } = world()
    const signable = example('refusal')
    const decided = await ledger.decide({ id: 'one', signable })
    expect(decided).toMatchObject({ index: 0, fact: { kind: 'refusal', body: signable.body } })
    await reader.refresh()
    expect(reader.facts()).toEqual([decided.fact])
    const { bytes } = await ledger.publishedBundle(decided.leaf)
    expect(verifyBundle(parseLoggedBundle(bytes), trust, { kind: 'refusal' })).toMatchObject({
      leaf: decided.leaf,
      index: 0,
    })
    expect(digestOf(bytes)).toMatch(/^sha256:/)
  })

  test('many at once', async () => {
    const { ledger, reader, signer } = world()
    const decided = await Promise.all(
      Array.from({ length: 600 }, (_, n) =>
        ledger.decide({ id: `${n % 500}`, signable: example('refusal', n) }),
      ),
    )
    expect(new Set(decided.map(({ index }) => index)).size).toBe(500)
    await reader.refresh()
    expect(reader.checkpoint()?.size).toBe(500)
    expect(signer.notes.length).toBeLessThan(100)
  })
})
