import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { bundleBytes } from '../../signing/bundle.ts'
import { verifyFreshness, type Freshness } from '../../signing/freshness.ts'
import type { SignerClient } from '../../signing/signer-client.ts'
import { KilnError } from '../domain/error.ts'
import type { LedgerWriter } from '../ledger/ledger-writer.ts'

type Input = {
  ledger: Pick<LedgerWriter, 'refresh' | 'checkpoint' | 'trust' | 'roles' | 'tellSigner'>
  signer: Pick<SignerClient, 'freshness'>
  everyMs: number
  now: () => Date
  logger: Logger
}

/** How often one statement is asked for again while batches are appended. */
const attempts = 20
const pauseMs = 25

/**
 * The server's word that the log is so now, made anew every `everyMs`: a statement of the record role
 * that is not logged. Asked for when the last one is older, it is made at once.
 */
export function sayFresh(input: Input) {
  const { ledger, everyMs, now, logger } = input
  let last: { at: number; roles: number; text: string } | undefined

  async function renew(): Promise<string> {
    const at = now().getTime()
    const { roles, text } = await signFreshness(input)
    last = { at, roles, text }
    return text
  }
  const timer = setInterval(() => {
    renew().catch((error: unknown) =>
      logger.warn({ err: error }, 'nothing says how far the log is'),
    )
  }, everyMs)
  return {
    async newest() {
      // A list of roles since then may have ended the range of the key that signed it.
      const holds = last?.roles === ledger.roles().at && now().getTime() - last.at < everyMs
      return last !== undefined && holds ? last.text : renew()
    },
    close: () => clearInterval(timer),
  }
}

/**
 * The signer vouches for the tree that it signed last, by the key that holds: while another tree is on its
 * way a moment later, and once it has heard of the list of roles that ended its key's range.
 */
async function signFreshness({
  ledger,
  signer,
  now,
}: Input): Promise<{ roles: number; text: string }> {
  for (let attempt = 1; ; attempt++) {
    const { environments } = await ledger.refresh()
    const head = ledger.checkpoint()
    if (head === null) throw new KilnError('not_found', 'the log is empty')
    const freshness: Freshness = {
      time: now().toISOString(),
      checkpoint: head.note,
      epochs: Object.fromEntries(
        [...environments.values()]
          .filter(({ epoch }) => epoch > 0)
          .map(({ environment, epoch }) => [environment, epoch]),
      ),
    }
    try {
      const bundle = await signer.freshness(freshness)
      verifyFreshness(bundle, ledger.trust())
      return { roles: ledger.roles().at, text: Buffer.from(bundleBytes(bundle)).toString('utf8') }
    } catch (error) {
      if (attempt === attempts || !(error instanceof KilnError)) throw error
      // By a key that this server does not know: it is in a list of roles that is read now.
      if (error.place === 'freshness.checkpoint' || error.place === 'signature')
        await delay(pauseMs)
      else if (error.place === 'role') await ledger.tellSigner()
      else throw error
    }
  }
}
