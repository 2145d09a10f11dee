const durationForm = /^(\d{1,7})(ms|s|m)$/
const unitMs = { ms: 1, s: 1000, m: 60_000 } as const

/** `500ms`, `10s`, `2m` as milliseconds; undefined for all else. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = durationForm.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * unitMs[unit as keyof typeof unitMs]
}

const memoryForm = /^(\d{1,6})(Mi|Gi)$/

/** `256Mi`, `2Gi` as mebibytes; undefined for all else. */
export function parseMemory(text: string): number | undefined {
  const [, count, unit] = memoryForm.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * (unit === 'Gi' ? 1024 : 1)
}
