import { ApplicationFailure, proxyActivities } from '@temporalio/workflow'
import type { EnvironmentName } from '../src/domain/name.ts'
import { authorize } from '../src/domain/authorize.ts'
import type { Principal } from '../src/domain/statement.ts'
import type { ScanActivities, ScanAnswer } from '../src/runtime/scan-activities.ts'

export type ScanInput = { host: string; environment: EnvironmentName; principal: Principal }

/** Has a host compare an environment's instances with what they should be, now and in depth. */
export async function scanEnvironment(input: ScanInput): Promise<ScanAnswer> {
  const { host, environment, principal } = input
  const verdict = authorize(principal, 'scan', environment)
  if (!verdict.allowed) throw ApplicationFailure.nonRetryable(verdict.message, 'forbidden')
  const { scan } = proxyActivities<ScanActivities>({
    taskQueue: `host.${host}`,
    scheduleToCloseTimeout: '45 seconds',
    retry: { maximumAttempts: 3 },
  })
  return scan({ environment })
}
