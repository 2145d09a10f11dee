import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Attempt } from './crash-child.ts'
import type { HostAtHand } from './host-at-hand.ts'

/** Has a process of its own attempt it, which kills itself at the point; gives the signal that ended it. */
export async function killedAt(
  host: HostAtHand,
  attempt: Pick<Attempt, 'point' | 'request' | 'rehearsal'>,
): Promise<string | null> {
  const { folder, naming, images } = host
  const input: Attempt = { folder, naming, registry: images.registry, ...attempt }
  const script = fileURLToPath(new URL('crash-child.ts', import.meta.url))
  const child = spawn(process.execPath, [script, JSON.stringify(input)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
  return signal
}
