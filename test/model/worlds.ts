import type { State } from './state.ts'

/**
 * What may happen in each world, beside two promoters and two hosts. Every state of every world is looked
 * at; one world with all of it at once has too many.
 */
export const worlds: readonly { name: string; left: Partial<State['left']> }[] = [
  { name: '2 requests, 2 crashes', left: { requests: 2, crashes: 2, delays: 0, denials: 0 } },
  {
    name: '2 requests, a crash, a late attempt',
    left: { requests: 2, crashes: 1, delays: 1, denials: 0 },
  },
  {
    name: 'a request, 2 crashes, a late attempt, a denial',
    left: { requests: 1, crashes: 2, delays: 1, denials: 1 },
  },
  { name: '3 requests, a crash', left: { requests: 3, crashes: 1, delays: 0, denials: 0 } },
]

/** Enough for every seeded fault. */
export const seededWorld = { requests: 2, crashes: 1, delays: 1, denials: 1 }
