/** Ends work that says nothing: its signal is aborted by the parent's, or after `silenceMs` without a `sign()`. */
export type Watchdog = {
  signal: AbortSignal
  /** Says that the work is alive. */
  sign: () => void
  /** Whether silence was the reason. */
  bit: () => boolean
  stop: () => void
}

export function createWatchdog(parent: AbortSignal, silenceMs: number): Watchdog {
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(new Error(`silent for ${silenceMs} ms`)), silenceMs)
  timer.unref()
  return {
    signal: AbortSignal.any([parent, silence.signal]),
    sign: () => timer.refresh(),
    bit: () => silence.signal.aborted && !parent.aborted,
    stop: () => clearTimeout(timer),
  }
}
