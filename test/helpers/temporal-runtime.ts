import { IllegalStateError } from '@temporalio/common'
import pino from 'pino'
import { installRuntime } from '../../src/main/temporal.ts'

/** Temporal's runtime, once for a process: Vitest runs many files in one, and each of them asks. */
export function silentRuntime(): void {
  try {
    installRuntime(pino({ level: 'silent' }))
  } catch (error) {
    // The one of a file before this one is as silent.
    if (!(error instanceof IllegalStateError)) throw error
  }
}
