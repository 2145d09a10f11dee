import { toldCheck, verifyKey } from '../../signing/verify-key.ts'
import type { Verification } from '../api/ports.ts'
import { KilnError } from '../domain/error.ts'
import { environmentOf, type Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import type { FactOf } from '../domain/statement.ts'
import type { LedgerReader } from '../ledger/ledger-reader.ts'

type Reader = Pick<LedgerReader, 'keyOf' | 'bundleOf' | 'trust'>

/** The environment's key of this sequence, or its active one. Throws `not_found`. */
export function keyAsked(
  { reader, ledger }: { reader: Reader; ledger: Ledger },
  environment: EnvironmentName,
  sequence: number | undefined,
): FactOf<'key'> {
  const key =
    sequence === undefined
      ? environmentOf(ledger, environment).active
      : reader.keyOf(environment, sequence)
  if (key !== null && key !== undefined) return key
  const what = sequence === undefined ? 'active key' : `key ${sequence}`
  throw new KilnError('not_found', `${environment} has no ${what}`, {
    fix: `kiln history ${environment}`,
  })
}

/** The key judged by the function that hosts ask before they start an instance; one that fails is an answer. */
export async function verifiedKey(
  { reader, ledger }: { reader: Reader; ledger: Ledger },
  key: FactOf<'key'>,
): Promise<Verification> {
  const { environment, digest, definition, sequence } = key.body
  const { verdict, checks } = verifyKey({
    bundle: await reader.bundleOf(key.leaf),
    trust: reader.trust(),
    expected: { environment, digest, definition },
    facts: { ledger },
  })
  return {
    subject: `${environment}@${sequence}`,
    passed: verdict === 'admissible',
    checks: checks.map(toldCheck),
  }
}
