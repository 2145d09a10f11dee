/**
 * How long to wait until the next look at work of which nothing new was seen for so long; both in milliseconds. A
 * tenth of it: whoever waits learns of the next thing late by that part at most, and work that takes minutes
 * is not asked for six times a second, each time a task for Temporal and the server.
 */
export function nextLookMs(quietMs: number): number {
  return Math.min(2000, Math.max(150, quietMs / 10))
}
