import { createServer } from 'node:net'
import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { processesMarked, startTokenOf } from '../../../src/main/supervisor/process-identity.ts'
import { homeMark, readState } from '../../../src/main/supervisor/state.ts'
import { startSupervisor, type Supervisor } from '../../../src/main/supervisor/supervisor.ts'
import { clock, describe, freePort, listeningLogger, makeHome } from './scratch.ts'

const patient = { timeout: 30_000, interval: 20 }

function stopAfter(supervisor: Supervisor): Supervisor {
  onTestFinished(() => supervisor.stop())
  return supervisor
}

function childOf(supervisor: Supervisor, name: string) {
  const found = supervisor.state().processes.find((one) => one.name === name)
  if (!found) throw new Error(`no ${name}`)
  return found
}

test('a process is started when those it depends on are ready, and stopped before them', async () => {
  const { paths, socket, journal, lines } = makeHome()
  const { logger } = listeningLogger()
  const last = describe({ name: 'last', socket: socket('last'), journal }, { dependsOn: ['slow'] })
  const slow = describe({ name: 'slow', socket: socket('slow'), readyAfterMs: 400, journal })
  const supervisor = await startSupervisor({ processes: [last, slow], paths, logger, clock })
  expect(lines()).toEqual(['slow started', 'slow ready', 'last started', 'last ready'])
  expect(readState(paths.home)).toMatchObject({
    version: 1,
    pid: process.pid,
    phase: 'ready',
    processes: [
      { name: 'slow', state: 'ready', restarts: 0 },
      { name: 'last', state: 'ready', restarts: 0 },
    ],
  })
  await supervisor.stop()
  expect(lines().slice(4)).toEqual(['last ended', 'slow ended'])
  expect(readState(paths.home)?.phase).toBe('stopped')
})

test('a crashed process is started again, which its state and the log say', async () => {
  const { paths, socket } = makeHome()
  const { logger, lines } = listeningLogger()
  const processes = [describe({ name: 'web', socket: socket('web') })]
  const supervisor = stopAfter(await startSupervisor({ processes, paths, logger, clock }))
  const before = childOf(supervisor, 'web')
  process.kill(before.pid ?? 0, 'SIGKILL')
  await vi.waitFor(() => {
    const now = childOf(supervisor, 'web')
    expect(now).toMatchObject({ state: 'ready', restarts: 1, lastExit: 'SIGKILL' })
    expect(now.pid).not.toBe(before.pid)
  }, patient)
  expect(readState(paths.home)?.processes[0]).toMatchObject({ state: 'ready', restarts: 1 })
  expect(lines).toContainEqual(
    expect.objectContaining({ process: 'web', how: 'SIGKILL', msg: 'ended; starting it again' }),
  )
})

test('what a crashed process left behind is ended before it starts again', async () => {
  const { paths, home, socket } = makeHome()
  const { logger } = listeningLogger()
  const processes = [describe({ name: 'web', socket: socket('web'), leaves: true })]
  const supervisor = stopAfter(await startSupervisor({ processes, paths, logger, clock }))
  await vi.waitFor(() => expect(processesMarked(homeMark, home)).toHaveLength(2), patient)
  process.kill(childOf(supervisor, 'web').pid ?? 0, 'SIGKILL')
  await vi.waitFor(() => expect(childOf(supervisor, 'web').restarts).toBe(1), patient)
  await vi.waitFor(() => expect(childOf(supervisor, 'web').state).toBe('ready'), patient)
  await vi.waitFor(() => expect(processesMarked(homeMark, home)).toHaveLength(2), patient)
  await supervisor.stop()
  await vi.waitFor(() => expect(processesMarked(homeMark, home)).toEqual([]), patient)
})

test('a process that dies before it is ready fails the start, with its last words', async () => {
  const { paths, home, socket } = makeHome()
  const { logger } = listeningLogger()
  const processes = [
    describe({ name: 'good', socket: socket('good') }),
    describe(
      { name: 'bad', dies: 7, says: ['reading the keys', 'no such key'] },
      { dependsOn: ['good'] },
    ),
    describe({ name: 'never', socket: socket('never') }, { dependsOn: ['bad'] }),
  ]
  await expect(startSupervisor({ processes, paths, logger, clock })).rejects.toMatchObject({
    code: 'not_running',
    message: 'bad ended before it was ready: exit 7',
    lines: ['reading the keys', 'no such key'],
  })
  expect(processesMarked(homeMark, home)).toEqual([])
  expect(readState(home)).toMatchObject({
    phase: 'failed',
    failure: { code: 'not_running', lines: ['reading the keys', 'no such key'] },
    processes: [{ state: 'stopped' }, { state: 'failed' }, { state: 'stopped' }],
  })
  // The home is free again.
  const again = await startSupervisor({ processes: processes.slice(0, 1), paths, logger, clock })
  await again.stop()
})

test('a process that is never ready fails the start when its time is over', async () => {
  const { paths, home, socket } = makeHome()
  const { logger } = listeningLogger()
  const processes = [
    describe({ name: 'mute', socket: socket('mute'), readyAfterMs: 1e8 }, { readyMs: 300 }),
  ]
  await expect(startSupervisor({ processes, paths, logger, clock })).rejects.toMatchObject({
    code: 'not_running',
    message: 'mute was not ready within 0.3 s',
  })
  expect(processesMarked(homeMark, home)).toEqual([])
})

test('a command that cannot be run is named', async () => {
  const { paths } = makeHome()
  const { logger } = listeningLogger()
  const processes = [describe({ name: 'gone' }, { command: '/no/such/command' })]
  await expect(startSupervisor({ processes, paths, logger, clock })).rejects.toThrow(
    /cannot run \/no\/such\/command/,
  )
})

test('what ignores SIGTERM is killed after its grace', async () => {
  const { paths, home, socket } = makeHome()
  const { logger } = listeningLogger()
  const orders = { name: 'stubborn', socket: socket('stubborn'), ignoresTerm: true, leaves: true }
  const processes = [describe(orders, { graceMs: 200 })]
  const supervisor = await startSupervisor({ processes, paths, logger, clock })
  await supervisor.stop()
  await vi.waitFor(() => expect(processesMarked(homeMark, home)).toEqual([]), patient)
})

test('a second supervisor of one home is refused', async () => {
  const { paths, socket } = makeHome()
  const { logger } = listeningLogger()
  const processes = [describe({ name: 'web', socket: socket('web') })]
  const supervisor = stopAfter(await startSupervisor({ processes, paths, logger, clock }))
  const { pid } = childOf(supervisor, 'web')
  await expect(startSupervisor({ processes, paths, logger, clock })).rejects.toMatchObject({
    code: 'already_running',
  })
  expect(startTokenOf(pid ?? 0)).toBe(childOf(supervisor, 'web').startToken)
})

test('another program that answers in a process’s place is not taken for it', async () => {
  const { paths, home } = makeHome()
  const { logger } = listeningLogger()
  const port = await freePort()
  const other = createServer().listen(port, '127.0.0.1')
  onTestFinished(() => void other.close())
  await once(other, 'listening')
  const processes = [
    describe({ name: 'web', port }, { readiness: { kind: 'tcp', host: '127.0.0.1', port } }),
  ]
  await expect(startSupervisor({ processes, paths, logger, clock })).rejects.toMatchObject({
    code: 'already_running',
    place: `127.0.0.1:${port}`,
  })
  expect(processesMarked(homeMark, home)).toEqual([])
})

test('a stop in the middle of the start ends what was started', async () => {
  const { paths, home, socket, journal, lines } = makeHome()
  const { logger } = listeningLogger()
  const stopping = new AbortController()
  const orders = { name: 'slow', socket: socket('slow'), readyAfterMs: 1e8, journal }
  const starting = startSupervisor({
    processes: [describe(orders)],
    paths,
    logger,
    clock,
    signal: stopping.signal,
  })
  const outcome = starting.catch((error: unknown) => error)
  await vi.waitFor(() => expect(lines()).toEqual(['slow started']), patient)
  stopping.abort()
  expect(await outcome).toMatchObject({ code: 'not_running' })
  expect(processesMarked(homeMark, home)).toEqual([])
  expect(readState(home)?.phase).toBe('stopped')
})

test('what must be prepared is prepared before every start', async () => {
  const { paths, socket } = makeHome()
  const { logger } = listeningLogger()
  let prepared = 0
  const prepare = async () => {
    prepared += 1
    if (prepared === 2) throw new Error('not this time')
  }
  const processes = [describe({ name: 'web', socket: socket('web') }, { prepare })]
  const supervisor = stopAfter(await startSupervisor({ processes, paths, logger, clock }))
  process.kill(childOf(supervisor, 'web').pid ?? 0, 'SIGKILL')
  await vi.waitFor(() => {
    expect(childOf(supervisor, 'web')).toMatchObject({ state: 'ready', restarts: 2 })
  }, patient)
  expect(prepared).toBe(3)
})

test('readiness by HTTP, and by a check', async () => {
  const { paths } = makeHome()
  const { logger } = listeningLogger()
  const port = await freePort()
  const own = await freePort()
  let asked = 0
  const check = async () => {
    asked += 1
    if (asked === 1) throw new Error('not yet')
    return asked > 2
  }
  const processes = [
    describe(
      { name: 'web', port },
      { readiness: { kind: 'http', url: `http://127.0.0.1:${port}/health` } },
    ),
    describe(
      { name: 'own', port: own },
      { readiness: { kind: 'check', host: '127.0.0.1', port: own, check } },
    ),
  ]
  const supervisor = stopAfter(await startSupervisor({ processes, paths, logger, clock }))
  expect(supervisor.state().phase).toBe('ready')
  expect(asked).toBe(3)
})
