import { readEvidence } from './evidence.ts'
import { factsOf } from './facts.ts'
import { readLog } from './log.ts'
import { foldEqualsReplay, nothingLost, oncePerDecision, onlyPrefixes } from './of-the-log.ts'
import { noRequestLost } from './of-the-requests.ts'
import { endsAtOne, neverInterleaved, nothingRepeatedOrLeft, onlyAdmissible } from './of-the-run.ts'
import type { Verdict } from './verdict.ts'

/** One verdict for each promise that a run can show. `boundMs`: how long a change may take when
 * nothing dies meanwhile. */
export function judge(places: {
  store: string
  trust: string
  evidence: string
  /** The host's name, as its containers carry it. */
  host: string
  boundMs: number
}): Verdict[] {
  const log = readLog(places)
  const facts = factsOf(log)
  const evidence = readEvidence(places.evidence, places.host)
  return [
    onlyAdmissible(log, facts, evidence),
    nothingLost(log, facts, evidence),
    onlyPrefixes(log, evidence),
    oncePerDecision(facts),
    foldEqualsReplay(facts, evidence),
    neverInterleaved(facts, evidence),
    noRequestLost(evidence),
    endsAtOne(facts, evidence, places),
    nothingRepeatedOrLeft(facts, evidence),
  ]
}
