import type { EnvironmentName } from '../domain/name.ts'
import type { Drift } from '../domain/request.ts'
import type { Judge } from './judge.ts'

/** `complete`: everything could be looked at. Without it, no finding means nothing. */
export type ScanAnswer = { findings: readonly Drift[]; complete: boolean }

export type ScanActivities = ReturnType<typeof scanActivities>

/** What a host is asked to look at out of turn; what it finds is told as by its own watch. */
export function scanActivities({ judge }: { judge: Judge }) {
  return {
    async scan({ environment }: { environment: EnvironmentName }): Promise<ScanAnswer> {
      const { drifts, complete } = await judge(environment, 'content')
      return { findings: drifts, complete }
    },
  }
}
