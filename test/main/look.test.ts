import { expect, test } from 'vitest'
import { nextLookMs } from '../../src/main/look.ts'

test.each([
  [0, 150],
  [1500, 150],
  [5000, 500],
  [20_000, 2000],
  [3_600_000, 2000],
])('after %d ms in which nothing happened the next look is in %d ms', (quiet, next) => {
  expect(nextLookMs(quiet)).toBe(next)
})
