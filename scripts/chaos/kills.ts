import { setTimeout as delay } from 'node:timers/promises'
import { until, type Session } from './session.ts'

/** Something that may be killed at any moment, and comes back. */
export type Target = {
  name: string
  kill: () => Promise<void>
  /** Waits until it is back. */
  back: () => Promise<void>
}

/** A process that Kiln's supervisor starts again. */
export function supervised(session: Session, name: string): Target {
  const record = () => session.processes().find((one) => one.name === name)
  let restarts = 0
  return {
    name,
    async kill() {
      const found = record()
      restarts = found?.restarts ?? 0
      const pid = found?.pid ?? null
      if (pid !== null) process.kill(pid, 'SIGKILL')
    },
    back: () =>
      until(`${name} is back`, 120_000, async () => {
        const found = record()
        return found?.state === 'ready' && found.restarts > restarts
      }),
  }
}

/** The supervisor itself; somebody starts Kiln again. */
export function supervisor(session: Session, pid: () => Promise<number | null>): Target {
  return {
    name: 'supervisor',
    async kill() {
      const running = await pid()
      if (running !== null) process.kill(running, 'SIGKILL')
    },
    async back() {
      await session.kiln.cli('up')
    },
  }
}

/** Kills it, waits until it is back, and writes down from when until when it was away. */
export async function killOnce(session: Session, target: Target): Promise<void> {
  const at = Date.now()
  await target.kill()
  try {
    await target.back()
  } finally {
    const what = { at, until: Date.now(), what: 'kill', containers: [] } as const
    session.journal.disturbed({ ...what, target: target.name })
    // Its HAProxy goes with it and comes back with it.
    if (target.name === 'supervisor') session.journal.disturbed({ ...what, target: 'haproxy' })
  }
}

/** Kills one after the other at random moments until it is told to stop; answers with how often each died. */
export async function killAtRandom(
  session: Session,
  targets: readonly Target[],
  { signal, everyMs }: { signal: AbortSignal; everyMs: number },
): Promise<Record<string, number>> {
  const kills: Record<string, number> = {}
  for (let turn = 0; !signal.aborted; turn++) {
    await delay(everyMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    const target = targets[turn % targets.length]
    if (signal.aborted || target === undefined) break
    await killOnce(session, target)
    kills[target.name] = (kills[target.name] ?? 0) + 1
  }
  return kills
}
