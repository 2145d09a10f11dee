import type { Checkpoint } from '../../../signing/checkpoint.ts'
import type { TrustRoot } from '../../../signing/trust.ts'
import type { VerifiedBundle } from '../../../signing/verify.ts'
import type { Evidence } from './format.ts'

export type EvidenceCheck = { name: string; passed: boolean; detail: string }

/** What is known once the file is shown to be the log's own words. */
export type Proven = {
  evidence: Evidence
  trust: TrustRoot
  checkpoint: Checkpoint
  /** In log order. */
  statements: readonly VerifiedBundle[]
}
