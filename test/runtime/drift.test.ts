import { expect, test } from 'vitest'
import { findDrift } from '../../src/runtime/drift.ts'
import type { Found } from '../../src/runtime/engine.ts'
import {
  emptyRecord,
  noteEnding,
  noteMade,
  noteMaking,
  takeEpoch,
  type HostRecord,
} from '../../src/runtime/host-record.ts'

const started = '2026-01-01T00:00:00.000000001Z'
const instances = [{ name: 'kiln.hello.prod.1.1', id: 'one', digest: 'sha256:a' }]
/** While a change is open, and once epoch 1 has its outcome. */
const [expected, settled] = [
  { instances, closed: null },
  { instances, closed: 1 },
]
const record = noteMade(emptyRecord('hello/prod'), 'one', started)
const right: Found = {
  id: 'one',
  name: 'kiln.hello.prod.1.1',
  imageId: 'sha256:image',
  state: 'running',
  startedAt: started,
  exitCode: 0,
  address: '172.18.0.2',
  labels: null,
  info: {} as Found['info'],
}

test.each<[string, Found[], string[]]>([
  ['it runs as it should', [right], []],
  ['it is gone', [], ['removed']],
  ['it is going', [{ ...right, state: 'removing' }], ['removed']],
  ['it ended', [{ ...right, state: 'exited', exitCode: 137 }], ['stopped']],
  ['it never ran', [{ ...right, state: 'created' }], ['stopped']],
  ['it is paused', [{ ...right, state: 'paused' }], ['paused']],
  ['it was started again', [{ ...right, startedAt: '2026-01-01T00:00:09Z' }], ['restarted']],
  ['another has its name', [{ ...right, id: 'other' }], ['removed', 'foreign']],
  ['another stands beside it', [right, { ...right, id: 'other', name: 'x' }], ['foreign']],
])('%s', (_what, found, causes) => {
  expect(findDrift(expected, found, record).map((drift) => drift.cause)).toEqual(causes)
  expect(findDrift(settled, found, record).map((drift) => drift.cause)).toEqual(causes)
})

const ending = noteEnding(record, ['one'])
const beside = { ...right, id: 'new', name: 'kiln.hello.prod.1.2' }
const both = noteMade(record, 'new', started)

test.each<{ what: string; found: Found[]; seen: HostRecord; told: string[] }>([
  {
    what: 'what it made and nobody adopted',
    found: [right, beside],
    seen: both,
    told: ['kiln.hello.prod.1.2 unknown'],
  },
  {
    what: 'what it was making',
    found: [right, { ...beside, state: 'created' }],
    seen: noteMaking(record, beside.name),
    told: ['kiln.hello.prod.1.2 unknown'],
  },
  {
    what: 'what it was ending and nobody adopted',
    found: [right, beside],
    seen: noteEnding(both, ['new']),
    told: ['kiln.hello.prod.1.2 unknown'],
  },
  {
    what: 'what it ended, though it shall serve',
    found: [],
    seen: ending,
    told: ['kiln.hello.prod.1.1 unknown'],
  },
  {
    what: 'what it began to end',
    found: [{ ...right, state: 'exited' }],
    seen: ending,
    told: ['kiln.hello.prod.1.1 unknown'],
  },
  { what: 'nothing, where what it began to end serves', found: [right], seen: ending, told: [] },
])(
  'once the last change has its outcome, a host tells of its own work: $what',
  ({ found, seen, told }) => {
    const at = { ...seen, epoch: 1 }
    expect(
      findDrift(settled, found, at).map((drift) => `${drift.instance} ${drift.cause}`),
    ).toEqual(told)
    // A change that is open, and one that the ledger as it was read does not know, may still come to it.
    expect(findDrift({ instances, closed: null }, found, at)).toEqual([])
    expect(findDrift(settled, found, { ...at, epoch: 2 })).toEqual([])
  },
)

test('what Kiln ends or has just made is no drift', () => {
  expect(findDrift(expected, [{ ...right, state: 'exited' }], ending)).toEqual([])
  expect(findDrift(expected, [], ending)).toEqual([])
  const made = noteMade(record, 'new', '')
  expect(findDrift(expected, [right, { ...right, id: 'new' }], made)).toEqual([])
})

test('a start whose time is not on record yet is not taken for another one', () => {
  const unknown = noteMade(emptyRecord('hello/prod'), 'one', '')
  expect(findDrift(expected, [right], unknown)).toEqual([])
})

test('what the engine made for a host that died before it heard the id is none, until it runs', () => {
  const name = 'kiln.hello.prod.2.1'
  const made = { ...right, id: 'new', name, state: 'created' }
  const making = noteMaking(record, name)
  expect(findDrift(expected, [right, made], making)).toEqual([])
  const byHand = { ...made, state: 'running' }
  expect(findDrift(expected, [right, byHand], making).map(({ cause }) => cause)).toEqual([
    'foreign',
  ])
  const later = takeEpoch(making, 3)
  expect(findDrift(expected, [right, made], later).map(({ cause }) => cause)).toEqual(['foreign'])
})
