import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Operation } from '../../src/domain/operation.ts'
import { followers } from '../../src/main/followers.ts'

const running = {
  id: 'delivery.1',
  kind: 'delivery',
  subject: 'a commit',
  state: 'running',
  requestedBy: 'ann',
  requestedAt: '2026-11-28T12:00:00.000Z',
  endedAt: null,
  steps: [],
  result: {},
  failure: null,
} as unknown as Operation
const ended: Operation = { ...running, state: 'succeeded', endedAt: '2026-11-28T12:00:01.000Z' }

async function statesOf(watch: AsyncIterable<{ operation: Operation }>): Promise<string[]> {
  const states: string[] = []
  for await (const { operation } of watch) states.push(operation.state)
  return states
}

test('however many follow an operation, one look at a time is made for all of them', async () => {
  const looks = { made: 0, now: 0, most: 0 }
  const watch = followers(async () => {
    looks.made += 1
    looks.now += 1
    looks.most = Math.max(looks.most, looks.now)
    await pause(20)
    looks.now -= 1
    return looks.made < 5 ? running : ended
  })
  const all = Array.from({ length: 20 }, () =>
    statesOf(watch('delivery.1', 0, new AbortController().signal)),
  )
  expect(await Promise.all(all)).toEqual(all.map(() => ['running', 'succeeded']))
  expect(looks.most).toBe(1)
  expect(looks.made).toBeLessThan(20)
})

test.each([
  ['four looks in a row that fail', 4, ['running', 'succeeded']],
  ['five looks in a row that fail', 5, 'no answer'],
] as const)('%s', async (_, failing, wanted) => {
  let look = 0
  const watch = followers(async () => {
    look += 1
    if (look === 1) return running
    if (look <= 1 + failing) throw new Error('no answer')
    return ended
  })
  const states = statesOf(watch('delivery.1', 0, new AbortController().signal))
  expect(await states.catch((error: Error) => error.message)).toEqual(wanted)
})
