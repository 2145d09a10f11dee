import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { diskError } from '../../store/disk-error.ts'
import { lives, processesMarked, type Identity } from './process-identity.ts'

const childState = z.enum([
  'waiting',
  'starting',
  'ready',
  'restarting',
  'stopping',
  'stopped',
  'failed',
])
export type ChildState = z.infer<typeof childState>

const childRecord = z.object({
  name: z.string(),
  state: childState,
  pid: z.number().nullable(),
  startToken: z.string().nullable(),
  restarts: z.number(),
  /** When it came into this state, ISO 8601. */
  since: z.string(),
  address: z.string().nullable(),
  log: z.string(),
  /** Why it last ended by itself. */
  lastExit: z.string().nullable(),
})
export type ChildRecord = z.infer<typeof childRecord>

const supervisorState = z.object({
  version: z.literal(1),
  pid: z.number(),
  startToken: z.string(),
  phase: z.enum(['starting', 'ready', 'stopping', 'stopped', 'failed']),
  since: z.string(),
  failure: z
    .object({
      code: z.string(),
      message: z.string(),
      fix: z.string().nullable(),
      lines: z.array(z.string()),
    })
    .nullable(),
  processes: z.array(childRecord),
})
export type SupervisorState = z.infer<typeof supervisorState>

/** What runs at a home. `orphans` are processes whose supervisor is gone. */
export type SupervisorView =
  | { kind: 'running'; state: SupervisorState }
  | { kind: 'not-running'; state: SupervisorState | null; orphans: readonly Identity[] }

/** Each supervised process, and what it starts, carries its home in this variable: the proof that it is Kiln's. */
export const homeMark = 'KILN_SUPERVISED_HOME'

export function stateFile(home: string): string {
  return join(home, 'run', 'supervisor.json')
}

/** Replaces the state as a whole: readers see the old or the new one. Throws `store_unavailable`. */
export function writeState(home: string, state: SupervisorState): void {
  const path = stateFile(home)
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`)
    renameSync(`${path}.new`, path)
  } catch (error) {
    throw diskError(error, path)
  }
}

/** Looks at the processes themselves, never at the file alone: it may be left from before a crash. */
export function readSupervisorState(home: string): SupervisorView {
  const state = readState(home)
  if (state !== null && lives(state) && state.phase !== 'stopped') return { kind: 'running', state }
  return { kind: 'not-running', state, orphans: processesMarked(homeMark, home) }
}

/** The file's content, whether or not its writer lives. */
export function readState(home: string): SupervisorState | null {
  try {
    return supervisorState.parse(JSON.parse(readFileSync(stateFile(home), 'utf8')))
  } catch {
    // Absent, or of another version: the marks of the processes still tell what runs.
    return null
  }
}
