import { errors, KilnError } from '../../domain/error.ts'
import { startSupervisor, type SupervisorInput } from './supervisor.ts'

/**
 * The whole life of a supervisor process: starts all, waits for SIGTERM, SIGINT or SIGHUP, stops all.
 * Resolves to the process's exit code; what it failed with is in its state and in its log.
 */
export async function superviseUntilSignalled(
  input: Omit<SupervisorInput, 'signal'>,
): Promise<number> {
  const stopping = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      input.logger.info({ signal }, 'stopping')
      stopping.abort()
    })
  }
  try {
    const supervisor = await startSupervisor({ ...input, signal: stopping.signal })
    input.logger.info('all processes are ready')
    await supervisor.ended
    return 0
  } catch (error) {
    if (stopping.signal.aborted) return 0
    input.logger.error({ err: error }, 'could not start')
    return error instanceof KilnError ? errors[error.code].exit : 1
  }
}
