import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { bundleBytes } from '../../signing/bundle.ts'
import type { Freshness } from '../../signing/freshness.ts'
import type { SignerClient } from '../../signing/signer-client.ts'
import { KilnError } from '../domain/error.ts'
import type { LedgerReader } from '../ledger/ledger-reader.ts'

type Input = {
  ledger: Pick<LedgerReader, 'refresh' | 'checkpoint'>
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
  const { everyMs, now, logger } = input
  let last: { at: number; text: string } | undefined

  async function renew(): Promise<string> {
    const at = now().getTime()
    const text = await signFreshness(input)
    last = { at, text }
    return text
  }
  const timer = setInterval(() => {
    renew().catch((error: unknown) =>
      logger.warn({ err: error }, 'nothing says how far the log is'),
    )
  }, everyMs)
  return {
    newest: async () =>
      last !== undefined && now().getTime() - last.at < everyMs ? last.text : renew(),
    close: () => clearInterval(timer),
  }
}

/** The signer vouches for the tree that it signed last: while one is on its way to the head, a moment later. */
async function signFreshness({ ledger, signer, now }: Input): Promise<string> {
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
      return Buffer.from(bundleBytes(await signer.freshness(freshness))).toString('utf8')
    } catch (error) {
      const moved = error instanceof KilnError && error.place === 'freshness.checkpoint'
      if (!moved || attempt === attempts) throw error
      await delay(pauseMs)
    }
  }
}
