import type { DriftCause } from './statement.ts'

/** A replacement that was begun, and what it was begun for. */
export type Replacement = { at: string; causes: readonly DriftCause[] }

/**
 * A person has to look: Kiln stopped replacing by itself at its former pace, or (`denied`) stopped what
 * may not run any more and had nothing to return to.
 */
export type Alarm = {
  change: string
  cause: DriftCause | 'denied'
  since: string
  message: string
}

/** So many replacements for one cause within the window; then an alarm, and longer and longer pauses. */
export const replacementBudget = {
  limit: 3,
  windowMs: 10 * 60_000,
  longestPauseMs: 6 * 3_600_000,
} as const

export type Spending =
  | { kind: 'within' }
  | { kind: 'exhausted'; cause: DriftCause; count: number; until: string }

/**
 * Whether another replacement may begin now, from what is on record since the last change that a person
 * or a new artifact made. Pure. Replacing is never refused for work that was lost, which happens to Kiln
 * itself, and is allowed when one of several causes is within its budget.
 */
export function spend(of: {
  replacements: readonly Replacement[]
  alarm: Alarm | null
  causes: readonly DriftCause[]
  now: Date
}): Spending {
  const verdicts = [...new Set(of.causes)]
    .filter((cause) => cause !== 'edge')
    .map((cause): Spending => (cause === 'unknown' ? { kind: 'within' } : spendOn(cause, of)))
  return verdicts.find(({ kind }) => kind === 'within') ?? verdicts[0] ?? { kind: 'within' }
}

function spendOn(
  cause: DriftCause,
  {
    replacements,
    alarm,
    now,
  }: { replacements: readonly Replacement[]; alarm: Alarm | null; now: Date },
): Spending {
  const { limit, windowMs, longestPauseMs } = replacementBudget
  const times = replacements
    .filter(({ causes }) => causes.includes(cause))
    .map(({ at }) => Date.parse(at))
  if (alarm?.cause === cause) {
    const since = Date.parse(alarm.since)
    const tries = times.filter((time) => time >= since)
    const pauseMs = Math.min(windowMs * 2 ** tries.length, longestPauseMs)
    return before(Math.max(since, ...tries) + pauseMs, { cause, count: times.length, now })
  }
  const recent = times.filter((time) => now.getTime() - time < windowMs)
  if (recent.length < limit) return { kind: 'within' }
  return before(Math.min(...recent) + windowMs, { cause, count: recent.length, now })
}

function before(
  until: number,
  { cause, count, now }: { cause: DriftCause; count: number; now: Date },
): Spending {
  if (now.getTime() >= until) return { kind: 'within' }
  return { kind: 'exhausted', cause, count, until: new Date(until).toISOString() }
}

const ruleBeginning = 'repeated-drift.'

/** The rule's name, under which the refusal that raises the alarm is on record. */
export function alarmRule(cause: DriftCause): string {
  return `${ruleBeginning}${cause}`
}

/** The cause that an alarm's rule names; null when the rule is another one. */
export function causeOfRule(rule: string): DriftCause | null {
  return rule.startsWith(ruleBeginning) ? (rule.slice(ruleBeginning.length) as DriftCause) : null
}
