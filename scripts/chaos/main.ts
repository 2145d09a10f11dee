import { rm } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { kilnAt, root, type Kiln } from '../demo/kiln.ts'
import { endAll, lockedTemplates, lockTemplates } from '../demo/stage.ts'
import { planned } from './choose.ts'
import { drops } from './drops.ts'
import { finish } from './finish.ts'
import { supervisorPid } from './inventory.ts'
import { openJournal } from './journal.ts'
import { killAtRandom, supervised, supervisor } from './kills.ts'
import { startLoad, together, type Counted, type Load } from './load.ts'
import { attempt, learn, runMatrix, runRounds, type Progress, type Ways } from './matrix.ts'
import { differences, openPoints, otherCases, ownCases, settingsOf, type Points } from './points.ts'
import { startRecorder } from './recorder.ts'
import { documentOf, exitCodeOf } from './report.ts'
import { openSession, type Session } from './session.ts'
import { openStage, type Stage } from './stage.ts'
import { openWork, prodOf, type Work } from './work.ts'

/**
 * Lets processes die at every crash point and at random, loses answers, changes things by hand, while
 * people work and requests come in; then the checker judges what is left.
 *
 *   npm run chaos -- --minutes 10 [--keep]
 *
 * Progress goes to standard error; standard output is one JSON document. Exit code 0 when every promise
 * held and every process died at each of its points; 1 when a promise broke or was not proved, work could
 * not be done, or a point is missing; 2 for wrong arguments. `--keep` leaves the home and the evidence.
 */

const home = join(root, '.kiln-chaos')
const evidence = join(home, 'evidence')
const host = 'chaos'
const apps = ['hello', 'second', 'third']
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
  points: Points
  /** One for each app, all at work at once: while one waits for a process that died, others go on. */
  lanes: readonly Work[]
  progress: Progress
  counted: Counted
  kills: Record<string, number>
  /** From the first death to the last. */
  disturbedMinutes: number
}

/** How much longer than it was told a run may go on for the own points that are left, in parts of its time. */
const longer = 0.5

/**
 * One round in which nobody dies; then each process at each of its points; then chance; then the points
 * that are left, though the time be over; then the other processes at the same points; then chance again.
 */
async function disturb(running: Running, minutes: number): Promise<void> {
  const { points, lanes, progress, stage } = running
  const [first] = lanes
  if (first === undefined) return
  const ways = lanes.map((lane): Ways => lane.ways)
  say('each app is delivered and promoted')
  await Promise.all(lanes.map((lane) => lane.ways.promote()))
  const load = await loadOn(running)
  try {
    const passes = await learn({ points, ways: first.ways, say }, progress)
    progress.unexpected.push(...differences(points.passed()))
    const began = Date.now()
    /** `part` of the time is over: 1 is all of it. */
    const over = (part: number) => () => Date.now() > began + part * minutes * 60_000
    const matrix = { points, lanes: ways, passes, say }
    say(`${planned(ownCases, passes, lanes.length).length} pieces of work reach every point`)
    await runMatrix({ ...matrix, cases: ownCases, over: over(0.9) }, progress)
    await byChance(running, Date.now() + minutes * 6_000)
    await runMatrix({ ...matrix, cases: ownCases, over: over(1 + longer) }, progress)
    await runRounds({ ...matrix, over: over(1) }, [ownCases, otherCases], progress)
    await byChance(running, began + minutes * 60_000)
    running.disturbedMinutes = Math.round((Date.now() - began) / 6_000) / 10
  } finally {
    running.counted = await load.stop()
  }
  const { docker, builds, store } = stage
  const dropped = docker.dropped.length + builds.dropped.length
  say(`dropped: ${dropped} answers of engines, ${store.dropped.length} of the store`)
}

/** Every app's production is asked all the time: the first over connections that are kept. */
async function loadOn({ session, lanes }: Running): Promise<Load> {
  const addresses = await Promise.all(lanes.map(({ app }) => prodOf({ session, app })))
  return together(
    lanes.map(({ app }, n) =>
      startLoad(session.journal, {
        address: String(addresses[n]?.address),
        environment: `${app}/prod`,
        connections: 2,
        fresh: n > 0,
        pauseMs: 0,
      }),
    ),
  )
}

/** Processes die at moments that nobody chose, answers are lost, and work goes on. */
async function byChance(running: Running, until: number): Promise<void> {
  if (Date.now() >= until) return
  const { session, stage, lanes, progress } = running
  const over = new AbortController()
  const names = ['haproxy', 'server', 'host', 'build', 'signer']
  const targets = [
    ...names.map((name) => supervised(session, name)),
    ...stage.targets,
    supervisor(session, () => supervisorPid(session.kiln.home)),
  ]
  const killing = killAtRandom(session, targets, {
    signal: over.signal,
    everyMs: 2000,
    progress,
  })
  const dropping = drops(stage, { signal: over.signal, everyMs: 2000 })
  const working = lanes.map(async (lane, n) => {
    const ways = Object.entries<() => Promise<void>>(lane.ways)
    for (let turn = n * 3; Date.now() < until; turn++) {
      const [name = '', work = async () => undefined] = ways[turn % ways.length] ?? []
      await attempt({ name, work }, progress)
    }
  })
  try {
    await delay(Math.max(0, until - Date.now()))
  } finally {
    over.abort()
    for (const [name, times] of Object.entries(await killing))
      running.kills[name] = (running.kills[name] ?? 0) + times
    await dropping
  }
  say(`random kills: ${JSON.stringify(running.kills)}`)
  await Promise.all(working)
}

async function chaos(minutes: number): Promise<number> {
  say('clearing away what an earlier run left')
  const bare = kilnAt(home, { KILN_HOST: host })
  await endAll(bare, host)
  await rm(home, { recursive: true, force: true })
  await lockTemplates()
  const stage = await openStage(join(home, 'stage'))
  const cases = [...ownCases, ...otherCases]
  const record = join(home, 'points')
  const journal = openJournal(evidence)
  const points = openPoints(home, { cases, record, journal })
  const kiln = kilnAt(home, {
    KILN_API_PORT: '7800',
    KILN_HOST: host,
    KILN_REPOSITORIES: home,
    KILN_TEMPLATES: lockedTemplates,
    ...settingsOf(cases, record),
    ...stage.settings,
  })
  const recorder = await startRecorder(journal, { engine: stage.engine, store: stage.objects })
  const session = openSession(kiln, journal)
  const running: Running = {
    session,
    stage,
    points,
    lanes: apps.map((app) => openWork({ session, folder: home, engine: stage.engine, host, app })),
    progress: { covered: new Set(), unexpected: [] },
    counted: { sent: 0, ok: 0, failed: 0 },
    kills: {},
    disturbedMinutes: 0,
  }
  const weather = watchLoad()
  try {
    say('kiln up')
    await up(kiln)
    await disturb(running, minutes)
    say('waiting until nothing is in work')
    const promises = await finish(session, {
      engines: { runtime: stage.engine, build: buildEngine },
      host,
      builds: running.lanes.flatMap(({ builds }) => builds),
      store: stage.objects,
      stopRecording: recorder.stop,
    })
    const document = documentOf({ ...running, promises, minutes, loads: weather.loads })
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
    return conclude(document)
  } finally {
    weather.stop()
    await kiln.cli('down').catch((error: unknown) => say(String(error)))
    await recorder.stop()
    await clear(stage)
  }
}

/** On a busy machine the very first start, which makes everything, may take too long. */
async function up(kiln: Kiln): Promise<void> {
  try {
    await kiln.cli('up')
  } catch {
    await kiln.cli('up')
  }
}

/** What people want to know first, and the exit code. */
function conclude(document: ReturnType<typeof documentOf>): number {
  const { crashPoints: own, crashPointsWhileAnotherDies: others, requests, promises } = document
  const broken = promises.filter(({ verdict }) => verdict !== 'held').map(({ id }) => id)
  say(`crash points covered: ${own.covered} of ${own.total}`)
  say(`crash points covered while another process dies: ${others.covered} of ${others.total}`)
  say(`requests: ${requests.sent}, failed under a kill from outside: ${requests.failed}`)
  say(`promises that did not hold: ${broken.length === 0 ? 'none' : broken.join(', ')}`)
  for (const line of document.unexpected) say(`unexpected: ${line}`)
  return exitCodeOf(document)
}

/** How busy the machine is, now and then. */
function watchLoad(): { loads: number[]; stop: () => void } {
  const loads = [loadNow()]
  const timer = setInterval(() => loads.push(loadNow()), 10_000)
  return { loads, stop: () => clearInterval(timer) }
}

function loadNow(): number {
  return Math.round(loadavg()[0] ?? 0)
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
