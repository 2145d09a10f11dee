import { verifyKey } from '../../signing/verify-key.ts'
import type { Digest } from '../domain/digest.ts'
import { environmentOf } from '../domain/ledger.ts'
import { KilnError } from '../domain/error.ts'
import type { Admission } from '../runtime/activities.ts'
import { readDefinition, type LedgerView } from './ledger-view.ts'

/**
 * The host's own judgement, from the store alone: the key's bundle, the whole log under a signed
 * checkpoint, and what the host saw before. A ledger that ends earlier than that is not believed,
 * nor one of which nobody said lately that it is the newest.
 */
export function createAdmission(
  { store, reader }: LedgerView,
  memory: {
    /** The host's own memory of denials, which outlives every ledger it is shown later. */
    deny: (digests: readonly Digest[]) => Promise<void>
    /** Throws `not_fresh` unless the server vouched for the log not long ago. */
    demandFresh: () => Promise<void>
  },
): Admission {
  return {
    async check({ environment, digest, definition, key, seen, rehearsal = false }) {
      await memory.demandFresh()
      const ledger = await reader.refresh()
      await memory.deny([...ledger.denied.keys()])
      const state = environmentOf(ledger, environment)
      if (state.epoch < seen.epoch) {
        throw new KilnError(
          'verification_failed',
          `this host has seen epoch ${seen.epoch} of ${environment}, the ledger ends at ${state.epoch}`,
          {
            place: `key of ${environment}`,
            fix: 'kiln fsck; a store restored from an old backup must not be served',
          },
        )
      }
      const verdict = verifyKey({
        bundle: await reader.bundleOf(key),
        trust: reader.trust(),
        expected: { environment, digest, definition },
        facts: {
          ledger,
          ...(rehearsal
            ? { rehearsal }
            : {
                minSequence: Math.min(seen.sequence, state.active?.body.sequence ?? seen.sequence),
              }),
        },
      })
      if (verdict.verdict === 'refused') {
        const { name, found, wanted } = verdict.reason
        throw new KilnError('verification_failed', `${name}: found ${found}, wanted ${wanted}`, {
          place: `key of ${environment}`,
        })
      }
      return { definition: await readDefinition(store, definition) }
    },
  }
}
