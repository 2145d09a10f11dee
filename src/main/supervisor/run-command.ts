import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { lastLines } from './log-file.ts'
import type { ProcessDescription } from './process-description.ts'
import { signalPid, startTokenOf, waitGone } from './process-identity.ts'

/** One run of a command, from its start to its end. */
export type Run = {
  /** Null when the command could not be run at all. */
  pid: number | null
  startToken: string | null
  /** How it ended, in words; never rejects. */
  ended: Promise<string>
  /** The last lines that this run wrote. */
  lastLines(count: number): Promise<readonly string[]>
  /** SIGTERM, after the grace SIGKILL to all of its group. Resolves when the process is gone. */
  end(graceMs: number): Promise<void>
  /** SIGKILL to what is left of its group. */
  sweep(): void
}

/** In a group and session of its own: a Ctrl-C on the terminal reaches the supervisor alone. */
export function runCommand(description: ProcessDescription, log: string): Run {
  mkdirSync(dirname(log), { recursive: true })
  const output = openSync(log, 'a', 0o600)
  const logStart = statSync(log).size
  const child = spawn(description.command, description.args, {
    env: { ...description.environment },
    detached: true,
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const pid = child.pid ?? null
  const startToken = pid === null ? null : (startTokenOf(pid) ?? null)
  const sweep = () => {
    if (pid !== null) signalPid(-pid, 'SIGKILL')
  }
  return {
    pid,
    startToken,
    ended: new Promise((resolve) => {
      child.once('error', (error) => resolve(`cannot run ${description.command}: ${error.message}`))
      child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`))
    }),
    lastLines: (count) => lastLines(log, count, logStart),
    async end(graceMs) {
      if (pid !== null && startToken !== null) {
        child.kill('SIGTERM')
        await waitGone([{ pid, startToken }], graceMs)
      }
      sweep()
    },
    sweep,
  }
}
