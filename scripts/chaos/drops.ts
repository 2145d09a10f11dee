import { setTimeout as delay } from 'node:timers/promises'
import type { Stage } from './stage.ts'

/** Again and again: the next answers of an engine or the store, or those of Temporal for a moment, reach nobody. */
export async function drops(
  stage: Stage,
  { signal, everyMs }: { signal: AbortSignal; everyMs: number },
): Promise<void> {
  const proxies = [stage.docker, stage.builds, stage.store]
  const turns = [
    ...proxies.map((proxy) => async () => proxy.arm(1)),
    () => stage.temporal.drop(300),
  ]
  for (let turn = 0; !signal.aborted; turn++) {
    await delay(everyMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    if (!signal.aborted) await turns[turn % turns.length]?.()
  }
  for (const proxy of proxies) proxy.arm(0)
}
