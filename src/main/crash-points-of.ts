import type { Config } from './config.ts'
import { crashPoints } from './crash-point.ts'
import { readState } from './supervisor/state.ts'

/** The points of one of Kiln's processes, as its environment says. */
export function crashPointsOf(
  { crashAt, crashRecord, paths, home }: Config,
  process: string,
): (name: string) => void {
  return crashPoints({
    at: crashAt?.split(',') ?? [],
    record: crashRecord,
    folder: paths.run,
    process,
    pidOf: (other) =>
      readState(home)?.processes.find(({ name, state }) => name === other && state === 'ready')
        ?.pid ?? null,
  })
}
