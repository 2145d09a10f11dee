import { execa } from 'execa'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
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
import { openWork, type WayName, type Work } from '../../scripts/chaos/work.ts'
import { kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'
import { onRecord } from './record.ts'

/**
 * The short form of `npm run chaos`: one Kiln, one client that never stops asking, and everything that
 * dies meanwhile. What is left is judged at the end by the checker, which shares no code with Kiln.
 */

const engine = 'unix:///var/run/docker.sock'
const cases = [...ownCases, ...otherCases]

let kiln: KilnAtHand
let record: string
let journal: Journal
let session: Session
let work: Work
let points: Points
let recorder: { stop: () => Promise<void> }
let load: { stop: () => Promise<Counted> }

beforeAll(async () => {
  record = mkdtempSync(join(tmpdir(), 'kiln-chaos-'))
  kiln = await kilnAtHand(settingsOf(cases, join(record, 'points')))
  points = openPoints(kiln.home, { cases, record: join(record, 'points') })
  journal = openJournal(join(record, 'evidence'))
  recorder = await startRecorder(journal, { engine, store: join(kiln.home, 'store') })
  session = openSession(kiln, journal)
  work = openWork({ session, folder: kiln.folder, engine, host: kiln.host })
  await kiln.up()
  await work.ways.deliver()
  await work.ways.promote()
  const prod = { params: { app: 'hello', environment: 'prod' } }
  const { address } = await (await kiln.api()).environment(prod)
  load = startLoad(journal, { address: String(address), environment: 'hello/prod', connections: 2 })
}, 300_000)

afterAll(async () => {
  await load.stop().catch(() => undefined)
  await recorder.stop()
  await kiln.remove()
  rmSync(record, { recursive: true, force: true })
}, 120_000)

test('the points that are declared are those that work passes, in the process that is said to', async () => {
  const progress: Progress = { covered: new Set(), unexpected: [] }
  await learn({ session, points, ways: work.ways, say: () => undefined }, progress)
  expect(progress.unexpected).toEqual([])
  expect(differences(points.passed())).toEqual([])
})

const builds = [
  'buildImage.done',
  'build.npm-ran',
  'build.built',
  'ledger.bundle-stored',
  'ledger.head-swapped',
  'signer.signed',
  'sealArtifact.done',
]
const effects = [
  'runtime.created',
  'startInstances.done',
  'edge.added',
  'edge.drained',
  'runtime.ended',
  'stopInstances.done',
]
const records = ['ledger.checkpoint-signed', 'signer.checkpoint-durable', 'recordActivation.done']
const beside = ['edge.drained@server', 'runtime.started@signer', 'ledger.tiles-stored@host']

const short: readonly (readonly [way: WayName, entries: readonly string[]])[] = [
  ['deliver', builds],
  ['promote', [...effects, ...records]],
  ['rollback', beside],
  ['release', ['recordRelease.done']],
]

test.each(short)('%s ends well though processes die at %s', async (way, entries) => {
  const armed = cases.filter(({ entry }) => entries.includes(entry))
  expect(armed).toHaveLength(entries.length)
  points.arm(armed)
  await work.ways[way]()
  const fired = points.disarm(armed)
  expect(fired.map(({ entry }) => entry).toSorted()).toEqual(
    armed.map(({ entry }) => entry).toSorted(),
  )
  await session.allReady()
})

test.each([
  ['build', 'deliver'],
  ['server', 'deliver'],
  ['signer', 'promote'],
  ['host', 'rollback'],
  ['temporal', 'release'],
  ['haproxy', 'scale'],
] as const)('kill -9 of %s at any moment while people %s', async (name, way) => {
  const progress: Progress = { covered: new Set(), unexpected: [] }
  const working = attempt({ session, name: way, work: work.ways[way] }, progress)
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 2000))
  await killOnce(session, supervised(session, name))
  await working
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
  const counted = await load.stop()
  expect(counted.ok).toBeGreaterThan(100)
  const verdicts = await finish(session, {
    engines: { runtime: engine, build: engine },
    host: kiln.host,
    builds: work.builds,
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
