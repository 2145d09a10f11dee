import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { kilnAt, root } from '../demo/kiln.ts'
import { endAll, lockedTemplates, lockTemplates, makeHome } from '../demo/stage.ts'
import { drops } from './drops.ts'
import { finish } from './finish.ts'
import { supervisorPid } from './inventory.ts'
import { openJournal } from './journal.ts'
import { killAtRandom, supervised, supervisor } from './kills.ts'
import { startLoad, type Counted } from './load.ts'
import { attempt, learn, runMatrix, type Passes, type Progress } from './matrix.ts'
import { differences, openPoints, otherCases, ownCases, settingsOf } from './points.ts'
import { startRecorder } from './recorder.ts'
import { documentOf } from './report.ts'
import { openSession, type Session } from './session.ts'
import { openStage, type Stage } from './stage.ts'
import { openWork } from './work.ts'

/**
 * Lets processes die at every crash point and at random, loses answers, changes things by hand, while
 * people work and requests come in; then the checker judges what is left.
 *
 *   npm run chaos -- --minutes 10 [--keep]
 *
 * Progress goes to standard error; standard output is one JSON document. Exit code 0 when every promise
 * held, 1 when one broke, was not proved, or the work could not be done, 2 for wrong arguments. `--keep`
 * leaves the home and the evidence.
 */

const home = join(root, '.kiln-chaos')
const evidence = join(home, 'evidence')
const host = 'chaos'
const buildEngine = 'unix:///var/run/docker.sock'
const started = Date.now()

function say(line: string): void {
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`)
}

function readMinutes(argv: string[]): { minutes: number; keep: boolean } | null {
  try {
    const options = {
      minutes: { type: 'string', default: '10' },
      keep: { type: 'boolean', default: false },
    } as const
    const { values } = parseArgs({ args: argv, options })
    const minutes = Number(values.minutes)
    return minutes > 0 && minutes <= 24 * 60 ? { minutes, keep: values.keep } : null
  } catch {
    return null
  }
}

type Running = {
  session: Session
  stage: Stage
  progress: Progress
  counted: Counted
  kills: Record<string, number>
}

/** Matrix first; the last third belongs to chance: random kills, dropped answers, and the cases that are left. */
async function disturb(
  running: Running,
  minutes: number,
  given: { points: ReturnType<typeof openPoints>; work: ReturnType<typeof openWork> },
) {
  const { session, progress, stage } = running
  const { points, work } = given
  const matrix = { session, points, ways: work.ways, say }
  const end = Date.now() + minutes * 60_000
  await work.ways.deliver()
  await work.ways.promote()
  const { address } = await session.call((api) =>
    api.environment({ params: { app: 'hello', environment: 'prod' } }),
  )
  const load = startLoad(session.journal, {
    address: String(address),
    environment: 'hello/prod',
    connections: 4,
  })
  try {
    const passes: Passes = await learn(matrix, progress)
    for (const line of differences(points.passed())) progress.unexpected.push(line)
    await runMatrix(
      { ...matrix, cases: ownCases, passes, over: () => Date.now() > end - minutes * 20_000 },
      progress,
    )
    await byChance({ running, matrix, passes }, end)
    await runMatrix({ ...matrix, cases: ownCases, passes, over: () => Date.now() > end }, progress)
    await runMatrix(
      { ...matrix, cases: otherCases, passes, over: () => Date.now() > end },
      progress,
    )
  } finally {
    running.counted = await load.stop()
  }
  say(`dropped: ${stage.docker.dropped.length + stage.builds.dropped.length} answers of engines`)
}

/** Processes die at moments that nobody chose, answers are lost, and work goes on. */
async function byChance(
  { running, matrix }: { running: Running; matrix: Parameters<typeof learn>[0]; passes: Passes },
  end: number,
): Promise<void> {
  const { session, stage, progress } = running
  const over = new AbortController()
  const names = ['haproxy', 'server', 'host', 'build', 'signer']
  const targets = [
    ...names.map((name) => supervised(session, name)),
    ...stage.targets,
    supervisor(session, () => supervisorPid(session.kiln.home)),
  ]
  const killing = killAtRandom(session, targets, { signal: over.signal, everyMs: 4000 })
  const dropping = drops(stage, { signal: over.signal, everyMs: 3000 })
  const until = Math.min(end, Date.now() + Math.max(60_000, (end - Date.now()) * 0.6))
  try {
    while (Date.now() < until) {
      for (const [name, work] of Object.entries(matrix.ways)) {
        if (Date.now() < until) await attempt({ session, name, work }, progress)
      }
    }
  } finally {
    over.abort()
    running.kills = await killing
    await dropping
    await session.allReady()
  }
  say(`random kills: ${JSON.stringify(running.kills)}`)
}

async function chaos(minutes: number): Promise<number> {
  say('clearing away what an earlier run left')
  const bare = kilnAt(home, { KILN_HOST: host })
  await endAll(bare, host)
  await rm(home, { recursive: true, force: true })
  await lockTemplates()
  await makeHome(home)
  const stage = await openStage(join(home, 'stage'))
  const cases = [...ownCases, ...otherCases]
  const record = join(home, 'points')
  const points = openPoints(home, { cases, record })
  const kiln = kilnAt(home, {
    KILN_API_PORT: '7800',
    KILN_HOST: host,
    KILN_REPOSITORIES: home,
    KILN_TEMPLATES: lockedTemplates,
    ...settingsOf(cases, record),
    ...stage.settings,
  })
  const journal = openJournal(evidence)
  const recorder = await startRecorder(journal, {
    engine: stage.engine,
    store: join(home, 'store'),
  })
  const session = openSession(kiln, journal)
  const work = openWork({ session, folder: home, engine: stage.engine, host })
  const running: Running = {
    session,
    stage,
    progress: { covered: new Set(), unexpected: [] },
    counted: { sent: 0, ok: 0, failed: 0 },
    kills: {},
  }
  try {
    say('kiln up')
    await kiln.cli('up')
    await disturb(running, minutes, { points, work })
    say('waiting until nothing is in work')
    const promises = await finish(session, {
      engines: { runtime: stage.engine, build: buildEngine },
      host,
      builds: work.builds,
      stopRecording: recorder.stop,
    })
    const document = documentOf({ ...running, promises, minutes, stage })
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
    return document.held ? 0 : 1
  } finally {
    await kiln.cli('down').catch((error: unknown) => say(String(error)))
    await recorder.stop()
    await clear(stage)
  }
}

async function clear(stage: Stage): Promise<void> {
  const { execa } = await import('execa')
  const { stdout } = await execa('docker', ['-H', stage.engine, 'ps', '-aq'], { reject: false })
  const ids = stdout.split('\n').filter((id) => id !== '')
  if (ids.length > 0)
    await execa('docker', ['-H', stage.engine, 'rm', '-f', ...ids], { reject: false })
  await execa('docker', ['-H', stage.engine, 'network', 'prune', '-f'], { reject: false })
  await stage.close()
}

const asked = readMinutes(process.argv.slice(2))
if (asked === null) {
  say('usage: npm run chaos -- [--minutes N] [--keep]')
  process.exitCode = 2
} else {
  try {
    process.exitCode = await chaos(asked.minutes)
  } catch (error) {
    say(`FAILED: ${error instanceof Error ? error.stack : String(error)}`)
    process.exitCode = 1
  }
  if (!asked.keep && process.exitCode === 0) await rm(home, { recursive: true, force: true })
}
