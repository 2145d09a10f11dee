import type { Cli } from './context.ts'
import type { Output } from './output.ts'
import type { ProgressMode } from './progress.ts'

/** One run of one verb. */
export type Session = {
  cli: Cli
  output: Output
  json: boolean
  /** Snapshots are the data: NDJSON while it goes on, instead of one document at the end. */
  stream: boolean
  progress: ProgressMode
  /** Data as one JSON document under --json, else as people read it. */
  print(json: Readonly<Record<string, unknown>>, human: () => void | Promise<void>): Promise<void>
}

export function createSession(
  cli: Cli,
  output: Output,
  options: { json: boolean; progress: ProgressMode },
): Session {
  return {
    cli,
    output,
    ...options,
    stream: false,
    async print(json, human) {
      if (options.json) output.document(json)
      else await human()
    },
  }
}
