/** One thing that was measured, beside what it is compared with. */
export type Figure = {
  name: string
  /** The median of the samples, or what the samples come to. */
  value: number
  unit: 's' | 'ms' | 'kB' | 'MB' | '1/s' | 'requests'
  /** Something that a reader knows, measured in the same run. */
  baseline?: { name: string; value: number }
  goal?: { max: number } | { min: number }
  /** Every value that was measured, in their order. */
  samples: readonly number[]
}

/** A part of the run: what it measures, and how. */
export type Part = {
  /** The figures that it certainly gives; `--only` chooses by them. */
  names: readonly string[]
  /** The longest that it may take, in seconds. */
  limitS: number
  measure: () => Promise<readonly Figure[]>
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
  return (upper + lower) / 2
}

/** Three digits that count; a figure is no more exact than that. */
export function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}

/** The figure whose value is the median of what was measured. */
export function medianOf(
  about: Omit<Figure, 'value' | 'baseline'> & {
    baseline?: { name: string; samples: readonly number[] }
  },
): Figure {
  const { baseline, samples, ...rest } = about
  return {
    ...rest,
    value: rounded(median(samples)),
    ...(baseline === undefined
      ? {}
      : { baseline: { name: baseline.name, value: rounded(median(baseline.samples)) } }),
    samples: samples.map(rounded),
  }
}

/** Whether the goal is reached; undefined where there is none. */
export function isMet({ value, goal }: Figure): boolean | undefined {
  if (goal === undefined) return undefined
  return 'max' in goal ? value <= goal.max : value >= goal.min
}

/** The parts that give at least one of the wanted figures; all of them when none is named. */
export function chosen(parts: readonly Part[], only: readonly string[]): readonly Part[] {
  if (only.length === 0) return parts
  return parts.filter(({ names }) => names.some((name) => only.includes(name)))
}
