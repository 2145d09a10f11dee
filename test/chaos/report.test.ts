import { expect, test } from 'vitest'
import type { Verdict } from '../../scripts/chaos/checker/verdict.ts'
import { ownCases } from '../../scripts/chaos/points.ts'
import { documentOf, exitCodeOf } from '../../scripts/chaos/report.ts'

const held: Verdict = {
  id: 'I7',
  promise: 'no accepted request is lost in a change',
  verdict: 'held',
  checked: 100_000,
  evidence: [],
}
const everyPoint = new Set(ownCases.map(({ entry }) => entry))
const proxy = { dropped: [], arm: () => undefined, close: () => Promise.resolve() }
const stage = { docker: proxy, builds: proxy, store: proxy, temporal: { swallowed: () => 0 } }

function run({
  covered = everyPoint,
  unexpected = [] as string[],
  promises = [held] as readonly Verdict[],
} = {}) {
  return documentOf({
    minutes: 10,
    disturbedMinutes: 11.5,
    progress: { covered, unexpected },
    counted: { sent: 100_000, ok: 100_000, failed: 0 },
    kills: {},
    promises,
    stage: stage as never,
    loads: [1],
  })
}

test('a run in which every promise held and every process died at each of its points is good', () => {
  const document = run()
  expect(exitCodeOf(document)).toBe(0)
  expect(document).toMatchObject({ version: 1, held: true, complete: true })
  expect(document.crashPoints).toEqual({
    total: ownCases.length,
    covered: ownCases.length,
    missing: [],
  })
})

test.each([
  ['a promise that broke', { promises: [held, { ...held, verdict: 'broken' }] }],
  ['a promise about which nothing was seen', { promises: [{ ...held, verdict: 'unproved' }] }],
  ['work that did not end as it should', { unexpected: ['deliver: timed out'] }],
  ['a point at which nothing died', { covered: new Set([...everyPoint].slice(1)) }],
] as [string, Parameters<typeof run>[0]][])('%s is not success', (_what, given) => {
  expect(exitCodeOf(run(given))).toBe(1)
})

test('the points that were not reached are named', () => {
  const [missed = ''] = everyPoint
  const { crashPoints } = run({ covered: new Set([...everyPoint].slice(1)) })
  expect(crashPoints).toMatchObject({ covered: ownCases.length - 1, missing: [missed] })
})
