import { log, proxyActivities } from '@temporalio/workflow'
import type { EnvironmentName } from '../src/domain/name.ts'
import type { BreakGlassRequest } from '../src/ledger/other-records.ts'
import type { ScanActivities } from '../src/runtime/scan-activities.ts'
import { control } from './activities.ts'
import { asThrown, failureOf } from './tracking.ts'

export type BreakGlassInput = { host: string; request: BreakGlassRequest }

/**
 * A person's leave to enter one instance: on record first, which is what the guard reads. Then the host
 * looks, which marks the instance, and replaces it where the leave is over. A host that does not answer
 * finds it in the ledger by itself.
 */
export async function breakGlass({ host, request }: BreakGlassInput): Promise<{ until: string }> {
  const { principal, environment } = request
  try {
    await control.authorizeWork({ principal, verb: 'break-glass', resource: environment })
    const entered = await control.recordBreakGlass(request)
    await look(host, environment)
    return entered
  } catch (error) {
    throw asThrown(failureOf(error))
  }
}

async function look(host: string, environment: EnvironmentName): Promise<void> {
  const { scan } = proxyActivities<ScanActivities>({
    taskQueue: `host.${host}`,
    scheduleToCloseTimeout: '10 seconds',
    retry: { maximumAttempts: 2 },
  })
  try {
    await scan({ environment })
  } catch {
    log.warn('the host did not look', { environment })
  }
}
