import { pino } from 'pino'
import { expect, test } from 'vitest'
import { environmentOf } from '../../src/domain/ledger.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { recordActivation } from '../../src/ledger/change-records.ts'
import { openLedger } from '../../src/ledger/ledger-writer.ts'
import type { RecordDependencies } from '../../src/ledger/record.ts'
import { memorySigner } from '../helpers/ledger-signer.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { example } from '../signing/examples.ts'

const environment: EnvironmentName = 'hello/dev'

/** A promotion that is open, and its key that nobody has logged yet. */
async function opened() {
  const signer = memorySigner()
  const logger = pino({ level: 'silent' })
  const ledger = openLedger({ ...memoryStore(), signer, trust: signer.trust, logger })
  const change = example('change')
  const at = { environment, epoch: 1 }
  const body = { ...change.body, ...at, tip: null, changeKind: 'promotion' as const }
  await ledger.decide({ id: 'change', signable: { ...change, body } })
  const key = example('key')
  const { digest, definition } = body.target
  const own = { ...at, sequence: 1, previous: null, digest, definition }
  const outcome = {
    artifact: digest,
    body: {
      ...at,
      change: body.change,
      outcome: 'failed' as const,
      serving: null,
      instances: [],
      failure: { code: 'change_failed', message: 'the work in flight was lost' },
    },
  }
  const issue = () =>
    ledger.decide({ id: 'key', signable: { ...key, body: { ...key.body, ...own } } })
  return { ledger, issue, outcome }
}

test('a change whose key is logged while its outcome is recorded gets an outcome, and one only', async () => {
  const { ledger, issue, outcome } = await opened()
  let late: Promise<{ leaf: string }> | undefined
  const dependencies = {
    decide: ledger.decide,
    now: () => new Date(),
    async ledger() {
      const known = await ledger.refresh()
      // Work that was given up on comes to its end between the look and the record.
      await (late ??= issue())
      return known
    },
  } as unknown as RecordDependencies
  const recorded = await recordActivation(dependencies, outcome)
  expect(recorded.key).toBe((await late)?.leaf)
  expect(environmentOf(ledger.ledger(), environment)).toMatchObject({
    open: null,
    outcome: { body: recorded },
  })
  const kinds = ledger.facts().map((fact) => fact.kind)
  expect(kinds).toEqual(['change', 'key', 'activation', 'activation'])
  expect(ledger.ledger().void.size).toBe(1)
  // Whoever did not hear it, and whoever comes to the same, hears the outcome that stands.
  const active = { ...outcome, body: { ...outcome.body, outcome: 'active' as const } }
  expect(await recordActivation(dependencies, active)).toEqual(recorded)
  expect(ledger.facts()).toHaveLength(kinds.length)
})
