/** What became of a promise: how many things were looked at, and each that breaks it. */
export type Verdict = {
  id: string
  promise: string
  /** `unproved`: there was nothing to look at, which proves nothing. */
  verdict: 'held' | 'broken' | 'unproved'
  checked: number
  /** The first that break it, as people need them. */
  evidence: readonly string[]
  /** What is counted apart, where a promise says so. */
  apart?: number
}

const shown = 20

export function verdictOf(
  about: { id: string; promise: string; apart?: number },
  checked: number,
  broken: readonly string[],
): Verdict {
  const judged = broken.length > 0 ? 'broken' : checked === 0 ? 'unproved' : 'held'
  const more = broken.length > shown ? [`and ${broken.length - shown} more`] : []
  return { ...about, verdict: judged, checked, evidence: [...broken.slice(0, shown), ...more] }
}
