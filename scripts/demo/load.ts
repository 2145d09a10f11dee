import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { root } from './kiln.ts'

/** What the load client counted. */
export type Counted = { sent: number; ok: number; failed: number; errors: readonly string[] }

/** A load client of its own process: POST, keep-alive, no retries. It ends by itself after `seconds`. */
export function startLoad(address: string, seconds: number): { stop: () => Promise<Counted> } {
  const child: ChildProcess = spawn(
    process.execPath,
    [
      join(root, 'scripts/load-client.ts'),
      '--address',
      address,
      '--path',
      '/work',
      '--connections',
      '4',
      '--max-seconds',
      String(seconds),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString('utf8')
  })
  const ended = once(child, 'close')
  return {
    async stop() {
      child.kill('SIGTERM')
      await ended
      return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Counted
    },
  }
}
