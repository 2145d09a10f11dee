import type { Extent } from './explore.ts'
import { keys } from './requests.ts'

/** Enough for every seeded fault. */
export const seededWorld: Extent & { name: string } = {
  name: '2 requests, a crash, a late attempt, a denial',
  left: { requests: 2, crashes: 1, delays: 1, denials: 1 },
}

/** What may happen in each world, beside two promoters and two hosts. Every state of every world is looked at. */
export const worlds: readonly (Extent & { name: string })[] = [
  seededWorld,
  { name: '2 requests, 2 crashes', left: { requests: 2, crashes: 2, delays: 0, denials: 0 } },
  {
    name: 'a request, 2 crashes, a late attempt, a denial',
    left: { requests: 1, crashes: 2, delays: 1, denials: 1 },
  },
  { name: '3 requests, a crash', left: { requests: 3, crashes: 1, delays: 0, denials: 0 } },
  {
    name: '3 keys, a crash, a denial',
    left: { requests: 3, crashes: 1, delays: 0, denials: 1 },
    wishes: keys,
  },
]

/** As much as can be at once: minutes, so that `npm run model` has them and `npm test` does not. */
export const wholeWorlds: readonly (Extent & { name: string })[] = [
  {
    name: '3 keys, 2 crashes, a late attempt',
    left: { requests: 3, crashes: 2, delays: 1, denials: 0 },
    wishes: keys,
  },
  {
    name: '2 keys, 2 crashes, a late attempt, a denial',
    left: { requests: 2, crashes: 2, delays: 1, denials: 1 },
    wishes: keys,
  },
]
