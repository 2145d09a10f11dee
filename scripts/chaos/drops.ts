import { setTimeout as delay } from 'node:timers/promises'
import type { Stage } from './stage.ts'

/** Again and again: the next answers of an engine, or those of Temporal for a moment, reach nobody. */
export async function drops(
  stage: Stage,
  { signal, everyMs }: { signal: AbortSignal; everyMs: number },
): Promise<void> {
  for (let turn = 0; !signal.aborted; turn++) {
    await delay(everyMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    if (signal.aborted) break
    if (turn % 3 === 0) stage.docker.arm(1)
    if (turn % 3 === 1) stage.builds.arm(1)
    if (turn % 3 === 2) await stage.temporal.drop(300)
  }
  stage.docker.arm(0)
  stage.builds.arm(0)
}
