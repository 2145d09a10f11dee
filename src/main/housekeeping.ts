import type { Logger } from 'pino'
import type { Pruned } from './prune.ts'

export type House = {
  /** Something may have become unneeded. */
  soon: () => void
  /** Resolves when nothing is being removed any more. */
  close: () => Promise<void>
}

const everyMs = 60 * 60_000
/** After a change its workflow has still something to record: what it ended is not needed then. */
const soonMs = 5000

/** Prunes at the start, once an hour, and soon after it was told; one at a time. What fails is tried the next time. */
export function keepHouse(work: () => Promise<readonly Pruned[]>, logger: Logger): House {
  let running: Promise<void> | undefined
  let waiting: NodeJS.Timeout | undefined
  let closed = false
  const prune = async () => {
    try {
      const gone = await work()
      const bytes = gone.reduce((sum, one) => sum + one.bytes, 0)
      if (gone.length > 0) logger.info({ removed: gone.length, bytes }, 'pruned')
    } catch (error) {
      logger.warn({ err: error }, 'could not prune')
    } finally {
      running = undefined
    }
  }
  const begin = () => {
    waiting = undefined
    if (!closed) running ??= prune()
  }
  const hourly = setInterval(begin, everyMs)
  begin()
  return {
    soon: () => void (waiting ??= setTimeout(begin, soonMs)),
    async close() {
      closed = true
      clearInterval(hourly)
      clearTimeout(waiting)
      await running
    },
  }
}
