import type { Ledger } from '../../src/domain/ledger.ts'

/** What the log says in the end, as JSON: what a release recorded of its own fold is compared with today's. */
export function plainLedger(ledger: Ledger): unknown {
  const { size, environments, sealed, denied, rejected } = ledger
  return JSON.parse(
    JSON.stringify({
      size,
      environments: Object.fromEntries(environments),
      sealed: Object.fromEntries(sealed.entries()),
      denied: Object.fromEntries(denied.entries()),
      rejected: Object.fromEntries(rejected.entries()),
      void: [...ledger.void],
    }),
  )
}
