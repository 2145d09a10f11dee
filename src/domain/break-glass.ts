import type { BreakGlassBody } from './statement.ts'

/** A person's leave to enter one running instance. It is on record; the instance is replaced after it. */
export type Entered = {
  instance: string
  id: string
  /** When it was first entered; a longer leave does not change it. */
  since: string
  /** ISO 8601; at this time or after it nobody is let in. */
  until: string
  by: string
  reason: string
}

export const breakGlass = { standardSeconds: 15 * 60, longestSeconds: 4 * 3600 } as const

/**
 * Who may enter what after one more statement; null when that is void: of an instance that no activation
 * adopted, for longer than anybody may, or that ends what nobody began. The newest of an instance counts.
 */
export function enter(
  {
    running,
    entered,
  }: { running: readonly { name: string; id: string }[]; entered: readonly Entered[] },
  { time, body }: { time: string; body: BreakGlassBody },
): readonly Entered[] | null {
  const { instance, id, until, reason, requestedBy: by } = body
  const lengthMs = Date.parse(until) - Date.parse(time)
  const before = entered.find((one) => one.id === id)
  const isRunning = running.some((one) => one.id === id && one.name === instance)
  if (!isRunning || lengthMs > breakGlass.longestSeconds * 1000) return null
  if (lengthMs <= 0) {
    return before === undefined
      ? null
      : entered.map((one) => (one === before ? { ...before, until } : one))
  }
  const since = before?.since ?? time
  return [...entered.filter((one) => one !== before), { instance, id, since, until, by, reason }]
}

/** What a change left running of it; the others are replaced, and need no leave. */
export function stillRunning(
  entered: readonly Entered[],
  running: readonly { id: string }[],
): readonly Entered[] {
  return entered.filter(({ id }) => running.some((one) => one.id === id))
}

export function isOpen({ until }: Pick<Entered, 'until'>, now: Date): boolean {
  return now.getTime() < Date.parse(until)
}
