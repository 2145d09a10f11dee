import { verifyKey } from '../../signing/verify-key.ts'
import type { Digest } from '../domain/digest.ts'
import { admissible, type Admission, type Ledger } from '../domain/ledger.ts'
import type { EnvironmentName } from '../domain/name.ts'
import { rehearsable } from '../domain/rehearsal.ts'
import type { LedgerReader } from '../ledger/ledger-reader.ts'

/** How many keys are known to be right; when more are, all are checked again. */
const kept = 1000

/**
 * What hosts may pull: what some environment's key lets start now, the key checked as the host itself
 * checks it; and the rollback target that it stored, which hosts rehearse. A key is checked once for each list of roles; whether it is still admissible, each time.
 */
export function createRegistryAdmission(
  reader: LedgerReader,
): () => Promise<(digest: Digest) => boolean> {
  const right = new Set<string>()

  async function passes(
    ledger: Ledger,
    environment: EnvironmentName,
    { key, digest, definition, rehearsal = false }: Admission & { rehearsal?: boolean },
  ): Promise<boolean> {
    const name = `${reader.roles().at} ${key} ${rehearsal}`
    if (right.has(name)) return true
    const { verdict } = verifyKey({
      bundle: await reader.bundleOf(key),
      trust: reader.trust(),
      expected: { environment, digest, definition },
      facts: { ledger, rehearsal },
    })
    if (verdict === 'refused') return false
    if (right.size >= kept) right.clear()
    right.add(name)
    return true
  }

  return async () => {
    const ledger = await reader.refresh()
    const allowed = new Set<Digest>()
    for (const environment of ledger.environments.keys()) {
      const target = rehearsable(ledger, environment)
      const targets = target === null ? [] : [{ ...target, rehearsal: true }]
      for (const one of [...admissible(ledger, environment), ...targets]) {
        if (await passes(ledger, environment, one)) allowed.add(one.digest)
      }
    }
    return (digest) => allowed.has(digest)
  }
}
