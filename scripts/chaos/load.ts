import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Journal } from './journal.ts'

export type Counted = { sent: number; ok: number; failed: number }
export type Load = { stop: () => Promise<Counted> }

const script = fileURLToPath(new URL('../load-client.ts', import.meta.url))

/**
 * A client of its own process that asks one environment again and again, each request journaled.
 * `fresh`: each over a connection of its own, of which the edge always tells how it ended.
 */
export function startLoad(
  journal: Journal,
  given: {
    address: string
    environment: string
    connections: number
    fresh: boolean
    /** How long a connection rests between two requests. */
    pauseMs: number
  },
): Load {
  const { address, environment, connections, fresh, pauseMs } = given
  const words = [
    `--address=${address}`,
    '--path=/work',
    `--connections=${connections}`,
    `--pause-ms=${pauseMs}`,
    '--max-seconds=86400',
    '--max-requests=1000000000',
    `--journal=${journal.file(`requests-${environment.replace('/', '.')}.jsonl`)}`,
    `--environment=${environment}`,
    ...(fresh ? ['--fresh'] : []),
  ]
  const child = spawn(process.execPath, [script, ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
  const output = text(child.stdout)
  const ended = once(child, 'close')
  return {
    async stop() {
      child.stdin.end()
      await ended
      return JSON.parse(await output) as Counted
    },
  }
}

/** Several loads as one. */
export function together(loads: readonly Load[]): Load {
  return {
    async stop() {
      const counted = await Promise.all(loads.map((load) => load.stop()))
      const sum = (what: keyof Counted) => counted.reduce((total, one) => total + one[what], 0)
      return { sent: sum('sent'), ok: sum('ok'), failed: sum('failed') }
    },
  }
}
