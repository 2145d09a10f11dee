import { appendFileSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { launchSupervisor, stopSupervisor } from '../../../src/main/supervisor/control.ts'
import { standardLogs } from '../../../src/main/supervisor/log-file.ts'
import {
  lives,
  processesMarked,
  signalExactly,
  startTokenOf,
} from '../../../src/main/supervisor/process-identity.ts'
import {
  homeMark,
  readState,
  readSupervisorState,
  writeState,
  type SupervisorState,
} from '../../../src/main/supervisor/state.ts'
import type { Orders } from './little-process.ts'
import { listeningLogger, makeHome, type Layout } from './scratch.ts'

const patient = { timeout: 30_000, interval: 20 }
const littleSupervisor = join(import.meta.dirname, 'little-supervisor.ts')
type Home = ReturnType<typeof makeHome>

async function launch({ paths }: Home, all: readonly Orders[]) {
  const layout: Layout = { paths, all }
  const seen: SupervisorState[] = []
  const state = await launchSupervisor({
    paths,
    command: process.execPath,
    args: [littleSupervisor, JSON.stringify(layout)],
    environment: { PATH: process.env['PATH'] ?? '' },
    onState: (one) => void seen.push(one),
  })
  onTestFinished(() => void signalExactly(state, 'SIGKILL'))
  return { state, seen }
}

test('a supervisor in the background: up, seen, refused twice, down', async () => {
  const home = makeHome()
  const { logger } = listeningLogger()
  const web = { name: 'web', socket: home.socket('web') }
  const { state, seen } = await launch(home, [web])
  expect(state).toMatchObject({ phase: 'ready', processes: [{ name: 'web', state: 'ready' }] })
  expect(seen.length).toBeGreaterThan(0)
  expect(readSupervisorState(home.home)).toEqual({ kind: 'running', state })

  await expect(launch(home, [web])).rejects.toMatchObject({ code: 'already_running' })
  expect(readSupervisorState(home.home)).toEqual({ kind: 'running', state })

  expect(await stopSupervisor(home.paths, { logger })).toBe(true)
  expect(readSupervisorState(home.home)).toMatchObject({ kind: 'not-running', orphans: [] })
  expect(readState(home.home)?.phase).toBe('stopped')
  expect(await stopSupervisor(home.paths, { logger })).toBe(false)
})

test('its own log is bounded as theirs are, and it goes on writing into it', async () => {
  const home = makeHome()
  const { logger } = listeningLogger()
  const { state } = await launch(home, [{ name: 'web', socket: home.socket('web') }])
  const log = join(home.paths.logs, 'supervisor.log')
  appendFileSync(log, `${'x'.repeat(standardLogs.maxBytes)}\n`)
  await vi.waitFor(() => expect(sizeOf(log)).toBeLessThan(standardLogs.maxBytes), patient)
  expect(sizeOf(`${log}.1`)).toBeGreaterThan(standardLogs.maxBytes)
  const [web] = state.processes
  process.kill(web?.pid ?? 0, 'SIGKILL')
  await vi.waitFor(() => expect(readFileSync(log, 'utf8')).toContain('starting it again'), patient)
  // It appends: what it writes after a rotation does not begin where it was before.
  expect(sizeOf(log)).toBeLessThan(10_000)
  await stopSupervisor(home.paths, { logger })
})

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

test('what fails while it starts in the background is told as it was found', async () => {
  const home = makeHome()
  const bad = { name: 'bad', dies: 3, says: ['the disk is full'] }
  await expect(launch(home, [bad])).rejects.toMatchObject({
    code: 'not_running',
    message: 'bad ended before it was ready: exit 3',
    lines: ['the disk is full'],
  })
  expect(processesMarked(homeMark, home.home)).toEqual([])
})

test('after kill -9 of the supervisor the next one ends what it left, and only that', async () => {
  const home = makeHome()
  const other = makeHome()
  const { logger } = listeningLogger()
  const all = [
    { name: 'web', socket: home.socket('web'), leaves: true },
    { name: 'stubborn', socket: home.socket('stubborn') },
  ]
  const first = await launch(home, all)
  const neighbour = await launch(other, [{ name: 'web', socket: other.socket('web') }])
  await vi.waitFor(() => expect(processesMarked(homeMark, home.home)).toHaveLength(3), patient)
  signalExactly(first.state, 'SIGKILL')
  await vi.waitFor(() => expect(lives(first.state)).toBe(false), patient)

  const view = readSupervisorState(home.home)
  expect(view.kind).toBe('not-running')
  const orphans = processesMarked(homeMark, home.home)
  expect(view).toMatchObject({ orphans })
  expect(orphans).toHaveLength(3)

  const second = await launch(home, all)
  expect(second.state.phase).toBe('ready')
  expect(orphans.filter(lives)).toEqual([])
  expect(readSupervisorState(other.home)).toEqual({ kind: 'running', state: neighbour.state })

  signalExactly(second.state, 'SIGKILL')
  await vi.waitFor(() => expect(lives(second.state)).toBe(false), patient)
  expect(await stopSupervisor(home.paths, { logger })).toBe(true)
  expect(processesMarked(homeMark, home.home)).toEqual([])
  await stopSupervisor(other.paths, { logger })
})

test('a state file from before a crash is not believed: its pid is another process now', async () => {
  const { home, paths } = makeHome()
  const { logger } = listeningLogger()
  const stale: SupervisorState = {
    version: 1,
    pid: process.pid,
    startToken: 'another-boot:1',
    phase: 'ready',
    since: '2026-01-01T00:00:00.000Z',
    failure: null,
    processes: [],
  }
  writeState(home, stale)
  expect(readSupervisorState(home)).toEqual({ kind: 'not-running', state: stale, orphans: [] })
  expect(signalExactly(stale, 'SIGKILL')).toBe(false)
  expect(await stopSupervisor(paths, { logger })).toBe(false)
})

test('a process is known by its boot and start, not by its number', () => {
  const token = startTokenOf(process.pid)
  expect(token).toMatch(/^[0-9a-f-]{36}:\d+$/)
  expect(startTokenOf(process.ppid)).not.toBe(token)
  expect(startTokenOf(2 ** 22 + 1)).toBeUndefined()
})
