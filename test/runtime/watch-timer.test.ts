import { createServer } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createDocker } from '../../src/docker/client.ts'
import type { Depth } from '../../src/runtime/look.ts'
import { openFence } from '../../src/runtime/fence.ts'
import { watchInstances } from '../../src/runtime/watch.ts'

/** What is compared when no event tells of anything: an engine that has none to tell. */
const patience = { timeout: 10_000 }

let folder: string
let stop: () => Promise<void>
let looked: Depth[]

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  folder = mkdtempSync(join(tmpdir(), 'kiln-watch-'))
  const socketPath = join(folder, 'engine.sock')
  const engine = createServer((_request, response) => response.flushHeaders())
  await new Promise<void>((resolve) => engine.listen(socketPath, resolve))
  const fence = await openFence({ folder: join(folder, 'host') })
  await fence.note('hello/dev', (record) => record)
  looked = []
  const ending = new AbortController()
  const judge = async (_environment: string, depth: Depth) => {
    looked.push(depth)
    return { drifts: [], again: false, complete: true }
  }
  const logger = pino({ level: 'silent' })
  const docker = createDocker({ socketPath })
  const naming = { host: 'timer', prefix: 'kiln-timer' }
  const done = watchInstances({ docker, naming, fence, logger, judge }, ending.signal)
  stop = async () => {
    ending.abort()
    await done
    fence.close()
    engine.closeAllConnections()
    engine.close()
  }
})

afterEach(async () => {
  await stop()
  vi.useRealTimers()
  rmSync(folder, { recursive: true, force: true })
})

/** The first look, and the second one after the engine was asked for its events. */
async function afterTheFirstLooks(): Promise<void> {
  await vi.waitFor(() => expect(looked).toEqual(['content', 'settings']), patience)
  looked.length = 0
}

test('every half minute the settings are compared, every minute the files and processes too', async () => {
  await afterTheFirstLooks()
  vi.advanceTimersByTime(30_000)
  await vi.waitFor(() => expect(looked).toEqual(['settings']), patience)
  vi.advanceTimersByTime(30_000)
  await vi.waitFor(() => expect(looked).toEqual(['settings', 'content']), patience)
  vi.advanceTimersByTime(60_000)
  await vi.waitFor(() => expect(looked).toEqual(['settings', 'content', 'content']), patience)
})
