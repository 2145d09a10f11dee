import { join } from 'node:path'
import type { Logger } from 'pino'
import { verifyFreshness } from '../../signing/freshness.ts'
import { KilnError } from '../domain/error.ts'
import { environmentOf } from '../domain/ledger.ts'
import { openFreshness, type HostFreshness } from '../runtime/freshness.ts'
import type { Config } from './config.ts'
import type { LedgerView } from './ledger-view.ts'

const timeoutMs = 5000
/** Some 10,000 environments. */
const maxBytes = 2 * 1024 * 1024

/** The host's own question to the server how far the log is, beside what it reads from the store. */
export function openHostFreshness(
  { paths, fresh, hostName }: Pick<Config, 'paths' | 'fresh' | 'hostName'>,
  { reader }: Pick<LedgerView, 'reader'>,
  { logger, now }: { logger: Logger; now: () => Date },
): Promise<HostFreshness> {
  return openFreshness({
    ask: () => ask(`${fresh.server}/api/v1/freshness`),
    async verify(bundle) {
      // The key that may vouch is the log's to say. What is wrong with the log, `log` says.
      await reader.refresh().catch(() => undefined)
      return verifyFreshness(bundle, reader.trust())
    },
    log: async () => {
      const ledger = await reader.refresh()
      return {
        beginsWith: reader.beginsWith,
        epochOf: (environment) => environmentOf(ledger, environment).epoch,
      }
    },
    files: { memory: join(paths.host, 'freshness'), alarm: paths.hostAlarm },
    host: hostName,
    limitMs: fresh.limitMs,
    now,
    logger,
  })
}

async function ask(address: string): Promise<unknown> {
  try {
    const answer = await fetch(address, {
      signal: AbortSignal.timeout(timeoutMs),
      redirect: 'error',
    })
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
    return JSON.parse(await readBounded(answer))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new KilnError('not_fresh', `${address} does not say how far the log is: ${why}`, {
      cause: error,
    })
  }
}

async function readBounded({ body }: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of (body ?? []) as AsyncIterable<Uint8Array>) {
    size += part.length
    if (size > maxBytes) throw new Error('too long an answer')
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}
