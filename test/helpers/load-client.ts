import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export type LoadReport = {
  sent: number
  ok: number
  failed: number
  errors: string[]
  perInstance: Record<string, number>
  p50: number
  p99: number
}

export type LoadClient = {
  pid: number
  /** Ends it, and gives its report. */
  stop: () => Promise<LoadReport>
}

const script = fileURLToPath(new URL('../../scripts/load-client.ts', import.meta.url))

/** Starts the load client as a process of its own; it ends when this process does. */
export function startLoad(
  address: string,
  options: {
    connections?: number
    maxRequests?: number
    delayMs?: number
    pauseMs?: number
    path?: string
  } = {},
): LoadClient {
  const { connections = 4, maxRequests = 1_000_000, delayMs = 0, pauseMs = 0, path = '/' } = options
  const child = spawn(
    process.execPath,
    [
      script,
      `--address=${address}`,
      `--path=${path}`,
      `--connections=${connections}`,
      `--max-requests=${maxRequests}`,
      `--delay-ms=${delayMs}`,
      `--pause-ms=${pauseMs}`,
      '--max-seconds=300',
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const output = text(child.stdout)
  const ended = once(child, 'close')
  return {
    pid: child.pid ?? 0,
    async stop() {
      child.stdin.end()
      await ended
      return JSON.parse(await output) as LoadReport
    },
  }
}
