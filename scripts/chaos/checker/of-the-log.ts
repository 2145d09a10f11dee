import type { Evidence, HistoryRow } from './evidence.ts'
import type { Change, Facts } from './facts.ts'
import type { Log } from './log.ts'
import { rootOf } from './merkle.ts'
import { verdictOf, type Verdict } from './verdict.ts'

/** I2: what the API told as done, and what any checkpoint counted, is there and whole. */
export function nothingLost(log: Log, facts: Facts, { told, checkpoints }: Evidence): Verdict {
  const broken = [...log.faults]
  const changes = [...facts.changes.values()].flat()
  const ended = told.filter((one) => one.told === 'ended')
  for (const { operation, kind, state, digest } of ended) {
    // A rebuild compares, a watch looks: neither is put on record.
    if (state !== 'succeeded' || kind === 'rebuild' || kind === 'watch') continue
    const there =
      kind === 'delivery'
        ? facts.sealed.has(digest)
        : isOnRecord(facts, changes, { operation, kind })
    if (!there) broken.push(`${operation} was told as ${state} and is not in the log`)
  }
  for (const note of checkpoints) {
    const { size } = log.noteOf(note)
    if (size > log.hashes.length)
      broken.push(`a checkpoint counted ${size} entries; there are ${log.hashes.length}`)
  }
  const promise = 'a statement once acknowledged is never lost'
  return verdictOf({ id: 'I2', promise }, ended.length + checkpoints.length, broken)
}

function isOnRecord(
  facts: Facts,
  changes: readonly Change[],
  { operation, kind }: { operation: string; kind: string },
): boolean {
  if (kind === 'release') {
    return facts.decisions.some((one) => one.kind === 'release')
  }
  if (kind === 'revocation') return facts.denied.size > 0
  return changes.some((one) => one.change === operation && one.outcome?.outcome === 'active')
}

/** I3: every signed checkpoint that anybody saw is a prefix of the log as it ended. */
export function onlyPrefixes(log: Log, { checkpoints }: Pick<Evidence, 'checkpoints'>): Verdict {
  const broken: string[] = []
  const notes = [...new Set(checkpoints)].map((text) => log.noteOf(text))
  let before = 0
  for (const note of [...notes, log.head]) {
    const prefix = rootOf(log.hashes.slice(0, note.size)).toString('base64')
    if (!note.signed) broken.push(`the checkpoint of ${note.size} entries is not signed by the log`)
    if (prefix !== note.root)
      broken.push(`the checkpoint of ${note.size} entries is of another log`)
    if (note.size < before)
      broken.push(`a log of ${before} entries was followed by one of ${note.size}`)
    before = Math.max(before, note.size)
  }
  const promise = 'every signed checkpoint is a prefix of every later one'
  return verdictOf({ id: 'I3', promise }, notes.length, broken)
}

/** I4: nothing was decided twice, and no entry fell out of its environment's chain. */
export function oncePerDecision({ decisions, broken }: Facts): Verdict {
  const seen = new Map<string, number>()
  const twice: string[] = []
  for (const { index, about } of decisions) {
    const first = seen.get(about)
    if (first !== undefined) twice.push(`entries ${first} and ${index}: ${about}`)
    seen.set(about, first ?? index)
  }
  const promise = 'one ledger entry per decision, whatever is retried'
  return verdictOf({ id: 'I4', promise }, decisions.length, [...twice, ...broken])
}

/** I5: what SQL tells of each environment is what the log says, and stays so when it is wiped. */
export function foldEqualsReplay(
  facts: Facts,
  { histories }: Pick<Evidence, 'histories'>,
): Verdict {
  const broken: string[] = []
  let checked = 0
  for (const [environment, changes] of facts.changes) {
    const own = rowsOf(changes)
    checked += own.length
    for (const when of ['before', 'after'] as const) {
      const told = (histories[environment]?.[when] ?? []).map(rowText).toSorted(ascending)
      if (told.join('\n') === own.join('\n')) continue
      const odd = own.find((row) => !told.includes(row)) ?? told.find((row) => !own.includes(row))
      broken.push(
        `${environment}, ${when} it was wiped: SQL tells ${told.length} changes, the log ${own.length}; ${odd}`,
      )
    }
  }
  const promise = 'the SQL fold equals a replay of the ledger; wiping it loses nothing'
  return verdictOf({ id: 'I5', promise }, checked, broken)
}

/** The sequence of a change without a key is its environment's own business. */
function rowsOf(changes: readonly Change[]): string[] {
  return changes
    .map(({ change, kind, epoch, outcome, digest, key }) =>
      rowText({
        operation: change,
        kind,
        epoch,
        outcome: outcome?.outcome ?? 'open',
        sequence: key?.sequence ?? null,
        digest,
      }),
    )
    .toSorted(ascending)
}

function rowText({ operation, kind, epoch, outcome, sequence, digest }: HistoryRow): string {
  return `${operation} ${kind} epoch ${epoch} ${outcome} key ${sequence} ${digest}`
}

function ascending(a: string, b: string): number {
  return a < b ? -1 : 1
}
