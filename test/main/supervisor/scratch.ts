import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import type { ProcessDescription } from '../../../src/main/supervisor/process-description.ts'
import { processesMarked, signalExactly } from '../../../src/main/supervisor/process-identity.ts'
import { homeMark } from '../../../src/main/supervisor/state.ts'
import type { Orders } from './little-process.ts'

export type Layout = {
  paths: { home: string; run: string; logs: string }
  all: readonly Orders[]
}

const littleProcess = join(import.meta.dirname, 'little-process.ts')

/** A home of its own; whatever still runs under it when the test is over is ended. */
export function makeHome() {
  const home = mkdtempSync(join(tmpdir(), 'kiln-supervisor-'))
  onTestFinished(async () => {
    for (const one of processesMarked(homeMark, home)) signalExactly(one, 'SIGKILL')
    await rm(home, { recursive: true, force: true })
  })
  const journal = join(home, 'journal')
  return {
    home,
    paths: { home, run: join(home, 'run'), logs: join(home, 'logs') },
    socket: (name: string) => join(home, `${name}.sock`),
    journal,
    lines: () => readFileSync(journal, 'utf8').trim().split('\n'),
  }
}

/** A little process as the supervisor sees it. */
export function describe(
  orders: Orders,
  change: Partial<ProcessDescription> = {},
): ProcessDescription {
  return {
    name: orders.name,
    command: process.execPath,
    args: [littleProcess, JSON.stringify(orders)],
    environment: { PATH: process.env['PATH'] ?? '' },
    dependsOn: [],
    readiness: { kind: 'socket', path: orders.socket ?? '/nowhere' },
    readyMs: 30_000,
    graceMs: 10_000,
    address: null,
    ...change,
  }
}

/** A logger that keeps what it was told. */
export function listeningLogger() {
  const lines: Record<string, unknown>[] = []
  const logger = pino(
    { level: 'trace' },
    { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) },
  )
  return { logger, lines }
}

export const clock = { now: () => new Date() }

/** A port of the loopback that nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}
