import type { DockerClient } from '../docker/client.ts'
import { existsSync } from 'node:fs'
import { lowDisk } from '../store/free-space.ts'
import type { Config } from './config.ts'

type Activity = (...input: never[]) => Promise<unknown>

/**
 * Asks before each of the named activities whether there is room, and throws `low_disk` when there is
 * not: nothing has begun then. The others finish or take back what was begun, and always may.
 */
export function guardDisk<A extends object>(
  activities: A,
  names: readonly (keyof A & string)[],
  assertRoom: () => Promise<void>,
): A {
  const guarded = names.map((name) => [
    name,
    async (...input: unknown[]) => {
      await assertRoom()
      return (activities[name] as (...input: unknown[]) => ReturnType<Activity>)(...input)
    },
  ])
  return { ...activities, ...(Object.fromEntries(guarded) as Partial<A>) }
}

/**
 * Of `minimum` a quarter is kept for what mends: a rollback and a replacement may use it, and hosts, which
 * do not know what a start is for, refuse only below it.
 */
export function mendingShare(minimum: number): number {
  return Math.floor(minimum / 4)
}

/** Whether home and the engine's own folder, where that is on this machine, have as much free. */
export function roomFor(
  { home }: Pick<Config, 'home'>,
  { docker, minimum }: { docker: DockerClient | null; minimum: number },
): () => Promise<void> {
  return async () => {
    const fault = await lowDisk([home, ...(await dataRoot(docker))], minimum)
    if (fault !== undefined) throw fault
  }
}

/** An engine that does not answer has its own error, later. */
async function dataRoot(docker: DockerClient | null): Promise<string[]> {
  const info = (await docker?.info().catch(() => undefined)) as
    | { DockerRootDir?: string }
    | undefined
  const root = info?.DockerRootDir
  return root !== undefined && existsSync(root) ? [root] : []
}
