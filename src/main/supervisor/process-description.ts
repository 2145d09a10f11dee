import { KilnError } from '../../domain/error.ts'

/** How a process shows that it does its work. Asked again and again until it says yes. */
export type Readiness =
  | { kind: 'http'; url: string }
  | { kind: 'tcp'; host: string; port: number }
  | { kind: 'socket'; path: string }
  /** Accepts connections, and a check of its own says yes. */
  | { kind: 'check'; host: string; port: number; check: () => Promise<boolean> }

/** One supervised process, as data. */
export type ProcessDescription = {
  name: string
  command: string
  args: readonly string[]
  /** The whole environment: nothing is inherited. */
  environment: Readonly<Record<string, string>>
  /** Names of the processes that must be ready before this one is started. */
  dependsOn: readonly string[]
  readiness: Readiness
  /** How long one start may take until it is ready. */
  readyMs: number
  /** How long it may take to end after SIGTERM; then SIGKILL. */
  graceMs: number
  /** The longest wait between a crash and the next start; 5 s where it is left out. */
  longestBackoffMs?: number
  /** Where people and programs reach it; null when nowhere. */
  address: string | null
  /** Runs before each start, restarts included: it must be idempotent. */
  prepare?: () => Promise<void>
}

/**
 * The processes so that each comes after those it depends on; equal ones keep their order. Throws
 * `internal` when a name is unknown, given twice or part of a circle: the description itself is wrong.
 */
export function startOrder(
  processes: readonly ProcessDescription[],
): readonly ProcessDescription[] {
  const byName = new Map(processes.map((one) => [one.name, one]))
  if (byName.size !== processes.length) throw new KilnError('internal', 'two processes of one name')
  const ordered = new Set<ProcessDescription>()
  const visit = (one: ProcessDescription, above: readonly string[]): void => {
    if (above.includes(one.name)) {
      throw new KilnError('internal', `processes wait for each other: ${above.join(', ')}`)
    }
    for (const name of one.dependsOn) {
      const needed = byName.get(name)
      if (!needed) throw new KilnError('internal', `${one.name} depends on ${name}: unknown`)
      visit(needed, [...above, one.name])
    }
    ordered.add(one)
  }
  for (const one of processes) visit(one, [])
  return [...ordered]
}
