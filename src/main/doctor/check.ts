/** One prerequisite: what was found, what is wanted, and what to do about it. */
export type Check = {
  name: string
  /** `warning`: Kiln works, but not as well as it should. */
  state: 'ok' | 'warning' | 'missing'
  found: string
  wanted: string
  fix: string | null
}

type Finding = Omit<Check, 'state' | 'fix'>

export function good(finding: Finding): Check {
  return { ...finding, state: 'ok', fix: null }
}

export function warning(finding: Finding, fix: string): Check {
  return { ...finding, state: 'warning', fix }
}

export function missing(finding: Finding, fix: string): Check {
  return { ...finding, state: 'missing', fix }
}

/** Compares dotted versions number by number, as far as the wanted one goes. */
export function atLeast(found: string, wanted: string): boolean {
  const have = found.split('.').map((part) => Number.parseInt(part, 10))
  for (const [index, part] of wanted.split('.').entries()) {
    const difference = (have[index] ?? 0) - Number(part)
    if (difference !== 0) return difference > 0
  }
  return true
}
