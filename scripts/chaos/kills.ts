import { setTimeout as delay } from 'node:timers/promises'
import { attempt, type Progress } from './matrix.ts'
import { until, type Session } from './session.ts'

/** Something that may be killed at any moment, and comes back. */
export type Target = {
  name: string
  kill: () => Promise<void>
  /** Waits until it is back. */
  back: () => Promise<void>
  /** Waits until the edge is back, where it goes and comes with it. */
  edgeBack?: () => Promise<void>
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

/** The supervisor itself, and with it all that it runs; somebody starts Kiln again. */
export function supervisor(session: Session, pid: () => Promise<number | null>): Target {
  let killed: number | null = null
  return {
    name: 'supervisor',
    async kill() {
      killed = await pid()
      if (killed !== null) process.kill(killed, 'SIGKILL')
    },
    async back() {
      await session.kiln.cli('up')
    },
    edgeBack: () =>
      until('the edge is back', 120_000, async () => {
        const haproxy = session.processes().find(({ name }) => name === 'haproxy')
        return (await pid()) !== killed && haproxy?.state === 'ready'
      }),
  }
}

/** Kills it, waits until it is back, and writes down from when until when it was away. */
export async function killOnce(session: Session, target: Target): Promise<void> {
  const at = Date.now()
  const away = async (name: string, back: () => Promise<void>): Promise<void> => {
    try {
      await back()
    } finally {
      const what = { at, until: Date.now(), what: 'kill', containers: [] } as const
      session.journal.disturbed({ ...what, target: name })
    }
  }
  await target.kill()
  const { edgeBack } = target
  await Promise.all([
    away(target.name, target.back),
    ...(edgeBack === undefined ? [] : [away('haproxy', edgeBack)]),
  ])
}

/** Kills one after the other at random moments until it is told to stop; answers with how often each died. */
export async function killAtRandom(
  session: Session,
  targets: readonly Target[],
  { signal, everyMs, progress }: { signal: AbortSignal; everyMs: number; progress: Progress },
): Promise<Record<string, number>> {
  const kills: Record<string, number> = {}
  for (let turn = 0; !signal.aborted; turn++) {
    await delay(everyMs * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
    const target = targets[turn % targets.length]
    if (signal.aborted || target === undefined) break
    const work = () => killOnce(session, target)
    await attempt({ name: `kill -9 of ${target.name}`, work }, progress)
    kills[target.name] = (kills[target.name] ?? 0) + 1
  }
  return kills
}
