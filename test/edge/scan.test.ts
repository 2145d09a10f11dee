import { expect, test } from 'vitest'
import { edgeFaults } from '../../src/edge/scan.ts'

const ours = {
  name: 'one',
  address: '10.0.0.1',
  port: 80,
  path: '/',
  intervalMs: 1,
  drainMs: 1,
  state: 'ready',
} as const
const there = { name: 'one', address: '10.0.0.1', port: 80, weight: 100, admin: 0 }
const adopted = { name: 'one', id: 'one', address: '10.0.0.1', port: 80 }

test.each([
  ['all agree', [ours], [there], [adopted], []],
  [
    'HAProxy has another address',
    [ours],
    [{ ...there, address: '10.6.6.6' }],
    [adopted],
    ['restore'],
  ],
  ['the state file has another port', [{ ...ours, port: 81 }], [there], [adopted], ['restore']],
  [
    'both were sent elsewhere',
    [{ ...ours, port: 81 }],
    [{ ...there, port: 81 }],
    [adopted],
    ['restore'],
  ],
  ['nothing adopted it', [ours], [there], [], ['remove']],
  ['only HAProxy has it', [], [there], [adopted], ['remove']],
  ['HAProxy lost it', [ours], [], [adopted], ['add']],
  ['its instance does not run', [ours], [there], [{ ...adopted, address: '' }], []],
  ['it joins', [{ ...ours, state: 'joining' as const }], [{ ...there, weight: 0 }], [adopted], []],
])('%s', (...row) => {
  const [, written, running, instancesNow, mends] = row
  expect(edgeFaults(written, running, instancesNow).map(({ mend }) => mend)).toEqual(mends)
})
