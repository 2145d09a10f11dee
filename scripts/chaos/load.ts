import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Journal } from './journal.ts'

export type Counted = { sent: number; ok: number; failed: number }

const script = fileURLToPath(new URL('../load-client.ts', import.meta.url))

/** A client of its own process that asks one environment again and again, each request journaled. */
export function startLoad(
  journal: Journal,
  given: { address: string; environment: string; connections: number },
): { stop: () => Promise<Counted> } {
  const words = [
    `--address=${given.address}`,
    '--path=/work',
    `--connections=${given.connections}`,
    '--max-seconds=86400',
    '--max-requests=1000000000',
    `--journal=${journal.file('requests.jsonl')}`,
    `--environment=${given.environment}`,
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
