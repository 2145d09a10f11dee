import { toldCheck, verifyKey } from '../../../signing/verify-key.ts'
import { environmentOf, foldAll, type Ledger } from '../../domain/ledger.ts'
import type { FactOf } from '../../domain/statement.ts'
import type { EvidenceCheck, Proven } from './proven.ts'

/**
 * The provisioning key by the same function that hosts ask. Whether it is admissible changes with every
 * promotion: it is told, as of the checkpoint, and what is over is not refused for it.
 */
export function judgeKey({
  evidence,
  trust,
  checkpoint,
  statements,
}: Proven): readonly EvidenceCheck[] {
  const { index } = evidence
  const facts = statements.map(({ fact }) => fact)
  const ledger: Ledger = { ...foldAll(facts), size: checkpoint.size }
  const fact = facts.find((one) => one.index === index.key)
  if (fact?.kind !== 'key' || fact.body.sequence !== index.sequence) {
    return [{ name: 'key', passed: false, detail: 'the file does not hold the key it is about' }]
  }
  const { checks } = verifyKey({
    bundle: evidence.statements.get(index.key),
    trust,
    expected: {
      environment: index.environment as FactOf<'key'>['body']['environment'],
      digest: index.digest,
    },
    facts: { ledger },
  })
  return checks.map((check) =>
    check.name === 'admissible'
      ? { name: 'standing', ...standingOf(ledger, fact, check.ok) }
      : toldCheck(check),
  )
}

function standingOf(
  ledger: Ledger,
  key: FactOf<'key'>,
  admissible: boolean,
): { passed: boolean; detail: string } {
  const at = `as of entry ${ledger.size - 1}`
  const state = environmentOf(ledger, key.body.environment)
  if (state.active?.leaf === key.leaf) return { passed: admissible, detail: `active ${at}` }
  if (state.pending?.leaf === key.leaf) {
    return { passed: admissible, detail: `issued, without an outcome ${at}` }
  }
  if (!state.good.some(({ leaf }) => leaf === key.leaf)) {
    return { passed: false, detail: `it never became active, ${at}` }
  }
  const { sequence } = state.active?.body ?? { sequence: '?' }
  return { passed: true, detail: `it was active, and is superseded by sequence ${sequence} ${at}` }
}
