import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { judge } from '../../scripts/chaos/checker/judge.ts'
import { signCheckpoint } from '../../signing/checkpoint.ts'
import { memoryKeys } from '../helpers/signed-log.ts'
import { origin } from '../helpers/ledger-signer.ts'
import {
  activation,
  at,
  containerEvent,
  copyOf,
  goodRun,
  idOf,
  nameOf,
  request,
  type Run,
} from './good-run.ts'

let scratch: string
let good: Run
let run: ReturnType<typeof copyOf>

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'kiln-checker-'))
  good = await goodRun(join(scratch, 'good'))
})
beforeEach(() => {
  run = copyOf(good, mkdtempSync(join(scratch, 'run-')))
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

/** Makes the run anew, with a ledger of its own, and not as a copy: for who decides more in it. */
async function ledgerOfItsOwn(): Promise<Run['ledger']> {
  const own = await goodRun(mkdtempSync(join(scratch, 'own-')))
  run = own
  return own.ledger
}

function judged() {
  run.write()
  return judge({ ...run, host: 'x', boundMs: 300_000 })
}

const all = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I15']

test('a run without a fault holds every promise, each about something', () => {
  const verdicts = judged()
  expect(verdicts.map(({ id }) => id)).toEqual(all)
  expect(verdicts.map(({ verdict, evidence }) => [verdict, evidence])).toEqual(
    all.map(() => ['held', []]),
  )
  expect(verdicts.every(({ checked }) => checked > 0)).toBe(true)
})

const first = () => ({ digest: run.digests[0]!, key: run.keys[0]! })
const second = () => ({ digest: run.digests[1]!, key: run.keys[1]! })
const destroyed = (action: string) => run.events.filter((event) => event.Action !== action)
const refused = (decided: Promise<unknown>) =>
  decided.then(
    () => undefined,
    () => undefined,
  )

/** What is broken, the promise that says so, and its words; other promises may be broken with it. */
const violations: readonly (readonly [
  what: string,
  id: string,
  says: RegExp,
  seed: () => unknown,
])[] = [
  [
    'a key that nobody issued',
    'I1',
    /no key/,
    () =>
      run.events.push(
        containerEvent({
          action: 'start',
          at: at(2, 4),
          epoch: 2,
          digest: second().digest,
          key: 'f'.repeat(64),
        }),
      ),
  ],
  [
    'another environment’s key',
    'I1',
    /no key .* of hello\/dev/,
    () =>
      run.events.push(
        containerEvent({
          action: 'start',
          at: at(2, 4),
          epoch: 2,
          ...second(),
          environment: 'hello/dev',
        }),
      ),
  ],
  [
    'another digest than the key’s',
    'I1',
    /its key is for/,
    () =>
      run.events.push(
        containerEvent({
          action: 'start',
          at: at(2, 4),
          epoch: 2,
          ...second(),
          digest: first().digest,
        }),
      ),
  ],
  [
    'a start before the key',
    'I1',
    /before its key was issued/,
    () =>
      run.events.push(containerEvent({ action: 'start', at: at(2, 0.5), epoch: 2, ...second() })),
  ],
  [
    'a start under a key that is over',
    'I1',
    /its key was over/,
    () => run.events.push(containerEvent({ action: 'start', at: at(2, 50), epoch: 1, ...first() })),
  ],
  [
    'another image under the digest’s name',
    'I1',
    /it runs the image sha256:evil/,
    () =>
      run.events.push(
        containerEvent({
          action: 'start',
          at: at(2, 4),
          epoch: 2,
          ...second(),
          image: 'sha256:evil',
        }),
      ),
  ],
  [
    'success that the log does not know',
    'I2',
    /change:hello.prod:3 was told as succeeded/,
    () =>
      run.told.push({
        at: 0,
        told: 'ended',
        operation: 'change:hello.prod:3',
        kind: 'promotion',
        state: 'succeeded',
        environment: 'hello/prod',
        digest: '',
      }),
  ],
  [
    'a delivery whose artifact is not sealed',
    'I2',
    /delivery:x was told/,
    () =>
      run.told.push({
        at: 0,
        told: 'ended',
        operation: 'delivery:x',
        kind: 'delivery',
        state: 'succeeded',
        environment: '',
        digest: `sha256:${'0'.repeat(64)}`,
      }),
  ],
  [
    'a bundle that is gone',
    'I2',
    /its bundle is missing/,
    () => rmSync(join(run.store, 'bundles/leaf', run.keys[0]!)),
  ],
  [
    'entries that are gone',
    'I2',
    /entries of/,
    () => rmSync(join(run.store, 'tile/entries'), { recursive: true }),
  ],
  [
    'a log that became shorter',
    'I2',
    /a checkpoint counted/,
    () =>
      rmSync(
        join(
          run.store,
          'head',
          readdirSync(join(run.store, 'head'))
            .toSorted((a, b) => (a < b ? -1 : 1))
            .at(-1)!,
        ),
      ),
  ],
  [
    'a checkpoint of another tree',
    'I3',
    /of another log/,
    () =>
      run.checkpoints.push(
        signCheckpoint({ origin, size: 3, root: Buffer.alloc(32, 1) }, run.signer.keys.log),
      ),
  ],
  [
    'a checkpoint that another key signed',
    'I3',
    /not signed by the log/,
    () =>
      run.checkpoints.push(
        signCheckpoint({ origin, size: 1, root: Buffer.alloc(32) }, memoryKeys().log),
      ),
  ],
  [
    'a reader that was shown less than before',
    'I3',
    /was followed by one of/,
    () => (run.checkpoints = run.checkpoints.toReversed()),
  ],
  [
    'one decision on record twice',
    'I4',
    /entries \d+ and \d+: activation/,
    async () => {
      const ledger = await ledgerOfItsOwn()
      const signable = activation({ epoch: 2, ...second(), seconds: 12 })
      await refused(ledger.decide({ id: 'again', signable }))
    },
  ],
  [
    'an outcome of an epoch that nobody took',
    'I4',
    /of epoch 7, not the last one/,
    async () => {
      const ledger = await ledgerOfItsOwn()
      const signable = activation({ epoch: 7, ...second() })
      await refused(ledger.decide({ id: 'odd', signable }))
    },
  ],
  [
    'a change that SQL forgot',
    'I5',
    /SQL tells 1 changes, the log 2/,
    () => run.histories['hello/prod']!.before.pop(),
  ],
  [
    'an outcome that SQL tells otherwise once it was wiped',
    'I5',
    /after it was wiped/,
    () =>
      (run.histories['hello/prod']!.after[0] = {
        ...run.histories['hello/prod']!.after[0]!,
        outcome: 'failed',
      }),
  ],
  [
    'an effect of the old epoch in the new one',
    'I6',
    /after epoch 1 had ended/,
    () =>
      run.events.push(
        containerEvent({
          action: 'create',
          at: at(2, 3),
          epoch: 1,
          ...first(),
          name: `${nameOf(1)}x`,
          id: 'late',
        }),
      ),
  ],
  [
    'an effect before its epoch was taken',
    'I6',
    /before epoch 2 was taken/,
    () =>
      run.events.push(
        containerEvent({
          action: 'create',
          at: at(1, 50),
          epoch: 2,
          ...second(),
          name: `${nameOf(2)}x`,
          id: 'early',
        }),
      ),
  ],
  [
    'an effect of an epoch that nobody took',
    'I6',
    /no change took epoch 9/,
    () =>
      run.events.push(
        containerEvent({ action: 'create', at: at(2, 3), epoch: 9, ...second(), id: 'odd' }),
      ),
  ],
  [
    'a request that failed',
    'I7',
    /hello\/prod .* status 502/,
    () => run.requests.push(request({ ok: false, error: 'status 502' })),
  ],
  [
    'an accepted change without an end',
    'I8',
    /change:hello.prod:8 was accepted and never ended/,
    () =>
      run.told.push({
        at: 0,
        told: 'accepted',
        operation: 'change:hello.prod:8',
        kind: 'promotion',
        state: 'queued',
        environment: 'hello/prod',
        digest: '',
      }),
  ],
  ['nothing behind the edge', 'I8', /behind the edge are ;/, () => run.edge.pop()],
  [
    'an old instance behind the edge',
    'I8',
    /behind the edge are/,
    () => run.edge.push(`be:hello.prod,${nameOf(1)},UP,100,2`),
  ],
  [
    'a server that is down',
    'I8',
    /behind the edge are ;/,
    () => (run.edge[2] = run.edge[2]!.replace('UP', 'DOWN')),
  ],
  [
    'an instance that does not run',
    'I8',
    /run; adopted/,
    () => (run.left.containers[0] = { ...run.left.containers[0]!, state: 'exited' }),
  ],
  [
    'an effect that was repeated',
    'I15',
    /was made at .* and again at/,
    () =>
      run.events.push(
        containerEvent({ action: 'create', at: at(2, 4), epoch: 2, ...second(), id: 'other' }),
      ),
  ],
  [
    'an orphan container',
    'I15',
    /container kiln-build-x is left/,
    () =>
      run.left.containers.push({ id: 'x', name: 'kiln-build-x', state: 'exited', kind: 'build' }),
  ],
  [
    'an orphan network',
    'I15',
    /2 networks are left for 1/,
    () => run.left.networks.push('kiln-x.hello.lost'),
  ],
  ['an orphan volume', 'I15', /volume v is left/, () => run.left.volumes.push('v')],
  ['an orphan image', 'I15', /image i is left/, () => run.left.images.push('i')],
]

test.each(violations)('%s breaks %s', async (...[, id, says, seed]) => {
  await seed()
  const verdict = judged().find((one) => one.id === id)
  expect(verdict?.verdict).toBe('broken')
  expect(verdict?.evidence.join('\n')).toMatch(says)
})

test('every promise is shown to be breakable', () => {
  expect(
    [...new Set(violations.map(([, id]) => id))].toSorted(
      (a, b) => all.indexOf(a) - all.indexOf(b),
    ),
  ).toEqual(all)
})

test('a change that lost its outcome, took too long, or told another than serves breaks I8', async () => {
  const ledger = await ledgerOfItsOwn()
  const tip = ledger.ledger().environments.get('hello/prod')!
  const body = {
    ...tip.closed!.body,
    epoch: 3,
    tip: tip.tip,
    change: 'change:hello.prod:3',
    changeKind: 'scale' as const,
  }
  await ledger.decide({
    id: 'third',
    signable: { kind: 'change', time: new Date(at(3, 0)).toISOString(), body },
  })
  expect(judged().find(({ id }) => id === 'I8')?.evidence).toContain(
    'hello/prod epoch 3 has no outcome',
  )
  const late = activation({
    epoch: 3,
    ...second(),
    seconds: 400,
    body: {
      key: null,
      outcome: 'failed',
      serving: null,
      instances: [],
      failure: { code: 'internal', message: 'x' },
    },
  })
  await ledger.decide({ id: 'late', signable: late })
  const evidence = judged()
    .find(({ id }) => id === 'I8')
    ?.evidence.join('\n')
  expect(evidence).toMatch(/epoch 3 took 400000 ms, in which 0 processes died/)
  expect(evidence).toMatch(/epoch 3 failed: told to serve nothing, not sha256:\w+ by key 2/)
})

/** What breaks I8 when each change may take five seconds, of which it takes ten, and processes died then. */
function lateWith(deaths: readonly number[]) {
  for (const seconds of deaths) {
    const died = { at: at(2, seconds), until: at(2, seconds) }
    run.disturbances.push({ ...died, what: 'kill', target: 'server', containers: [] })
  }
  run.write()
  return judge({ ...run, host: 'x', boundMs: 5000 }).find(({ id }) => id === 'I8')?.evidence
}

test('a change may take longer for each process that died while it was in work, and no other', () => {
  expect(lateWith([])).toHaveLength(2)
  expect(lateWith([-5, 15])).toHaveLength(2)
  expect(lateWith([4])).toEqual(['hello/prod epoch 1 took 10000 ms, in which 0 processes died'])
})

test('containers that somebody made by hand are nobody’s', () => {
  run.disturbances.push({
    at: at(2, 20),
    until: at(2, 25),
    what: 'outside',
    target: 'instance',
    containers: ['foreign'],
  })
  run.events.push(
    containerEvent({ action: 'start', at: at(2, 24), epoch: 2, id: 'foreign', key: 'x' }),
  )
  expect(judged().filter(({ verdict }) => verdict !== 'held')).toEqual([])
})

test('a log of which the bucket keeps one head is read as one of a folder is', () => {
  const head = join(run.store, 'head')
  const newest = readdirSync(head).toSorted((a, b) => (a < b ? -1 : 1))
  const note = readFileSync(join(head, newest.at(-1)!))
  rmSync(head, { recursive: true })
  writeFileSync(head, note)
  expect(judged().filter(({ verdict }) => verdict !== 'held')).toEqual([])
})

test('a container that somebody removed by hand may be made again under its name', () => {
  run.disturbances.push({
    at: at(2, 4),
    until: at(2, 4),
    what: 'outside',
    target: 'instance',
    containers: [idOf(2)],
  })
  run.events = destroyed('none')
  run.events.push(
    containerEvent({ action: 'create', at: at(2, 5), epoch: 2, ...second(), id: 'new' }),
  )
  expect(judged().find(({ id }) => id === 'I15')?.evidence).toEqual([])
})

test('containers of another Kiln on the same engine are not this one’s', () => {
  const odd = containerEvent({ action: 'start', at: at(2, 4), epoch: 9, id: 'other', key: 'x' })
  odd.Actor = { ...odd.Actor, Attributes: { ...odd.Actor.Attributes, 'kiln.host': 'y' } }
  run.events.push(odd)
  expect(judged().filter(({ verdict }) => verdict !== 'held')).toEqual([])
})

test('a run without requests proves nothing about them', () => {
  run.requests = []
  run.told = []
  run.checkpoints = []
  const unproved = judged().filter(({ verdict }) => verdict === 'unproved')
  expect(unproved.map(({ id }) => id)).toEqual(['I2', 'I3', 'I7'])
})
