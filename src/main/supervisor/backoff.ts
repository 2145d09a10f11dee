const firstMs = 100
const longestBackoffMs = 5000
/** A process that lived this long has recovered: the next crash is a first one again. */
const recoveredMs = 30_000

/** Waiting times between a crash and the next start. `crashes` counts those in a row. */
export type Backoff = { crashes: number; delayMs: number }

export const noCrash: Backoff = { crashes: 0, delayMs: 0 }

/** What follows a crash after `livedMs` of life: 100 ms, doubling to 5 s, anew after 30 s of life. */
export function afterCrash(
  before: Backoff,
  livedMs: number,
  longestMs = longestBackoffMs,
): Backoff {
  const crashes = livedMs >= recoveredMs ? 1 : before.crashes + 1
  return { crashes, delayMs: Math.min(firstMs * 2 ** Math.min(crashes - 1, 10), longestMs) }
}
