import { execa } from 'execa'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { planned } from '../../scripts/chaos/choose.ts'
import { finish } from '../../scripts/chaos/finish.ts'
import { openJournal, type Journal } from '../../scripts/chaos/journal.ts'
import { killOnce, supervised } from '../../scripts/chaos/kills.ts'
import { startLoad, type Counted } from '../../scripts/chaos/load.ts'
import { attempt, learn, type Progress } from '../../scripts/chaos/matrix.ts'
import {
  differences,
  openPoints,
  otherCases,
  ownCases,
  settingsOf,
  type Points,
} from '../../scripts/chaos/points.ts'
import { startRecorder } from '../../scripts/chaos/recorder.ts'
import { openSession, type Session } from '../../scripts/chaos/session.ts'
import { openWork, prodOf, type Work } from '../../scripts/chaos/work.ts'
import { kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'
import { onRecord } from './record.ts'

/**
 * The short form of `npm run chaos`: one Kiln, one client that never stops asking, and everything that
 * dies meanwhile. What is left is judged at the end by the checker, which shares no code with Kiln.
 */

const engine = 'unix:///var/run/docker.sock'
const app = 'hello'
const cases = [...ownCases, ...otherCases]

let kiln: KilnAtHand
let record: string
let journal: Journal
let session: Session
let work: Work
let other: Work
let points: Points
let recorder: { stop: () => Promise<void> }
/** Absent when nothing could be set up: the Kiln is removed all the same. */
let load: { stop: () => Promise<Counted> } | undefined

beforeAll(async () => {
  record = mkdtempSync(join(tmpdir(), 'kiln-chaos-'))
  kiln = await kilnAtHand(settingsOf(cases, join(record, 'points')))
  journal = openJournal(join(record, 'evidence'))
  points = openPoints(kiln.home, { cases, record: join(record, 'points'), journal })
  recorder = await startRecorder(journal, { engine, store: join(kiln.home, 'store') })
  session = openSession(kiln, journal)
  const given = { session, folder: kiln.folder, engine, host: kiln.host }
  work = openWork({ ...given, app })
  other = openWork({ ...given, app: 'other' })
  await kiln.up()
  await work.ways.promote()
  const { address } = await prodOf({ session, app })
  load = startLoad(journal, {
    address: String(address),
    environment: `${app}/prod`,
    connections: 2,
    fresh: false,
    pauseMs: 10,
  })
}, 300_000)

afterAll(async () => {
  await load?.stop().catch(() => undefined)
  await recorder.stop()
  await kiln.remove()
  rmSync(record, { recursive: true, force: true })
}, 120_000)

/**
 * One point of each kind, by the way of working that comes by; `npm run chaos` goes through all of them.
 */
const short: Readonly<Record<string, readonly string[]>> = {
  deliver: [
    'buildImage.done',
    'ledger.bundle-stored',
    'ledger.head-swapped',
    'signer.signed',
    'startInstances.done',
    'edge.added',
  ],
  rollback: ['edge.drained', 'stopInstances.done', 'recordActivation.done', 'edge.drained@server'],
}

/** Two apps at once: while one waits for a process that starts again, the other goes on. */
test('all that people do ends well though processes die, and passes the points that are declared', async () => {
  const progress: Progress = { covered: new Set(), unexpected: [] }
  const meanwhile = attempt({ name: 'other', work: twice(other.ways.promote) }, progress)
  const ways = Object.fromEntries(
    Object.entries(work.ways).map(([name, way]) => [name, dying(short[name] ?? [], way)]),
  )
  const passes = await learn({ points, ways, say: () => undefined }, progress)
  await meanwhile
  expect(progress.unexpected).toEqual([])
  expect(differences(points.passed())).toEqual([])
  const pieces = planned(ownCases, passes, 3)
  expect(new Set(pieces.flatMap(({ armed }) => armed))).toEqual(new Set(ownCases))
})

/** A way of working in which a process dies at each of these points. */
function dying(at: readonly string[], way: () => Promise<void>): () => Promise<void> {
  return async () => {
    const armed = cases.filter(({ entry }) => at.includes(entry))
    expect(armed).toHaveLength(at.length)
    points.arm(armed)
    await way()
    const fired = points.disarm(armed)
    expect(fired.map(({ entry }) => entry)).toEqual(armed.map(({ entry }) => entry))
  }
}

function twice(way: () => Promise<void>): () => Promise<void> {
  return () => way().then(way)
}

test('kill -9 of each process at any moment, while people work', async () => {
  const progress: Progress = { covered: new Set(), unexpected: [] }
  const over = new AbortController()
  const working = [work, other].map(async ({ ways }, n) => {
    const { deliver, promote, rollback, release, scale } = ways
    const turns = Object.entries({ promote, scale, rollback, release, deliver })
    for (let turn = n; !over.signal.aborted; turn++) {
      const [name = '', way = promote] = turns[turn % turns.length] ?? []
      await attempt({ name, work: way }, progress)
    }
  })
  for (const name of ['build', 'server', 'signer', 'host', 'temporal', 'haproxy']) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 2000))
    await killOnce(session, supervised(session, name))
  }
  over.abort()
  await Promise.all(working)
  expect(progress.unexpected).toEqual([])
  await session.allReady()
})

test('only what was changed by hand was replaced: nothing that a dead process left looks foreign', async () => {
  const { facts } = await onRecord(kiln)
  const drifts = facts.filter((fact) => fact.kind === 'drift')
  const replacements = facts.filter(
    (fact) => fact.kind === 'change' && fact.body.changeKind === 'replacement',
  )
  expect(drifts.filter((fact) => fact.kind === 'drift' && fact.body.cause === 'foreign')).toEqual(
    [],
  )
  expect(replacements).toHaveLength(1)
})

test('the checker finds every promise held, and fsck finds nothing', async () => {
  const counted = await load?.stop()
  expect(counted?.ok).toBeGreaterThan(100)
  const verdicts = await finish(session, {
    engines: { runtime: engine, build: engine },
    host: kiln.host,
    builds: [...work.builds, ...other.builds],
    store: join(kiln.home, 'store'),
    stopRecording: recorder.stop,
  })
  expect(verdicts.map(({ id, verdict, evidence }) => [id, verdict, evidence])).toEqual(
    verdicts.map(({ id }) => [id, 'held', []]),
  )
  const { exitCode } = await execa(join(import.meta.dirname, '../../bin/kiln'), ['fsck'], {
    env: { KILN_HOME: kiln.home, ...kiln.env },
    reject: false,
  })
  expect(exitCode).toBe(0)
})
