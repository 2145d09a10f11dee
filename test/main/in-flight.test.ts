import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { workflowBundle } from '../../src/main/workflow-bundle.ts'
import { openInFlight } from '../../src/main/in-flight.ts'
import { createWorker } from '../../src/main/temporal.ts'
import { testTemporal, until } from '../workflows/kiln-in-memory.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kiln-in-flight-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('what was taken and not ended is left to the next process, once', () => {
  const first = openInFlight(folder)
  expect(first.left).toEqual([])
  first.take('one')
  first.take('two')()
  expect(openInFlight(folder).left).toEqual(['one'])
  expect(openInFlight(folder).left).toEqual([])
})

test('a killed worker’s activity is tried again when the next worker starts, not when it is missed', async () => {
  const temporal = await testTemporal()
  onTestFinished(() => temporal.close())
  const bundlePath = await workflowBundle(folder)
  const inFlight = join(folder, 'in-flight')
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'little-worker.ts'), temporal.address, folder, inFlight],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const handle = await temporal.client.workflow.start('deliverCommit', {
    taskQueue: 'control',
    workflowId: 'delivery',
    args: [
      { id: 'delivery', repository: '/r', revision: 'main', useCache: true, requestedAt: '' },
    ].map((input) => ({ ...input, principal: { name: 'tester', kind: 'token' } })),
  })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')

  const hold: (() => void)[] = []
  const worker = await createWorker({
    address: temporal.address,
    taskQueue: 'control',
    activities: {
      authorizeWork: () => new Promise<void>((resolve) => hold.push(resolve)),
    },
    bundlePath,
    concurrent: 2,
    inFlight,
    logger: pino({ level: 'silent' }),
  })
  const running = worker.run()
  onTestFinished(async () => {
    for (const release of hold) release()
    await handle.terminate()
    worker.shutdown()
    await running
  })
  const [pending] = await until('the second attempt', async () => {
    const { raw } = await handle.describe()
    return hold.length > 0 ? (raw.pendingActivities ?? []) : undefined
  })
  expect(pending?.attempt).toBe(2)
  expect(pending?.lastFailure?.message).toBe('the process that did this ended')
})
