import {
  recordRejected,
  sealArtifact,
  signArtifact,
  type Made,
  type Signed,
} from './artifact-records.ts'
import { issueKey, recordActivation, recordChange } from './change-records.ts'
import { recordDenial } from './denial-records.ts'
import { recordBreakGlass, recordDrifts, recordRefusal, recordRelease } from './other-records.ts'
import type { RecordDependencies } from './record.ts'

export type LedgerActivities = ReturnType<typeof ledgerActivities>

/** Everything that is put on record. Each is one decision under one id: repeating it logs nothing anew. */
export function ledgerActivities(dependencies: RecordDependencies) {
  return {
    signArtifact: (made: Made) => signArtifact(dependencies, made),
    sealArtifact: (made: Made & Signed) => sealArtifact(dependencies, made),
    recordRejected: (input: Parameters<typeof recordRejected>[1]) =>
      recordRejected(dependencies, input),
    recordChange: (input: Parameters<typeof recordChange>[1]) => recordChange(dependencies, input),
    issueKey: (input: Parameters<typeof issueKey>[1]) => issueKey(dependencies, input),
    recordActivation: (input: Parameters<typeof recordActivation>[1]) =>
      recordActivation(dependencies, input),
    recordDrifts: (input: Parameters<typeof recordDrifts>[1]) => recordDrifts(dependencies, input),
    recordRelease: (input: Parameters<typeof recordRelease>[1]) =>
      recordRelease(dependencies, input),
    recordBreakGlass: (input: Parameters<typeof recordBreakGlass>[1]) =>
      recordBreakGlass(dependencies, input),
    recordDenial: (input: Parameters<typeof recordDenial>[1]) => recordDenial(dependencies, input),
    recordRefusal: (input: Parameters<typeof recordRefusal>[1]) =>
      recordRefusal(dependencies, input),
  }
}
