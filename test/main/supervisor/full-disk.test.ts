import { mkdirSync } from 'node:fs'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readState } from '../../../src/main/supervisor/state.ts'
import { startSupervisor } from '../../../src/main/supervisor/supervisor.ts'
import { smallDisk } from '../../helpers/disk-fault.ts'
import { clock, describe, listeningLogger, makeHome } from './scratch.ts'

const patient = { timeout: 30_000, interval: 20 }

test('on a full disk a crashed process is started again all the same, and its state is told later', async () => {
  const { paths, socket } = makeHome()
  const { logger, lines } = listeningLogger()
  mkdirSync(paths.run)
  const disk = await smallDisk(paths.run)
  const processes = [describe({ name: 'web', socket: socket('web') })]
  const supervisor = await startSupervisor({ processes, paths, logger, clock })
  onTestFinished(() => supervisor.stop())
  const web = () => supervisor.state().processes[0]
  disk.fill()
  process.kill(web()?.pid ?? 0, 'SIGKILL')
  await vi.waitFor(() => expect(web()).toMatchObject({ state: 'ready', restarts: 1 }), patient)
  expect(readState(paths.home)?.processes[0]).toMatchObject({ state: 'ready', restarts: 0 })
  expect(lines).toContainEqual(
    expect.objectContaining({
      msg: 'the state of the processes could not be written',
      err: expect.objectContaining({
        code: 'store_unavailable',
        message: expect.stringContaining('ENOSPC'),
      }),
    }),
  )
  disk.free()
  const told = () => readState(paths.home)?.processes[0]
  await vi.waitFor(() => expect(told()).toMatchObject({ restarts: 1, pid: web()?.pid }), patient)
})
