import type { Entry, Log, Statement } from './log.ts'

/** What statements say, as far as the promises need it. Times are milliseconds since 1970. */

export type Key = { leaf: string; index: number; at: number; sequence: number; digest: string }
export type Outcome = {
  index: number
  at: number
  outcome: 'active' | 'failed'
  serving: { digest: string; sequence: number } | null
  instances: readonly { name: string; id: string }[]
}
export type Change = {
  environment: string
  epoch: number
  change: string
  kind: string
  index: number
  at: number
  digest: string
  /** How many instances it wants. */
  wanted: number
  key: Key | null
  outcome: Outcome | null
}

/** One thing that was decided; two entries about the same one break I4. */
export type Decision = { index: number; kind: string; about: string }

export type Facts = {
  /** Each environment's changes in log order. */
  changes: ReadonlyMap<string, readonly Change[]>
  decisions: readonly Decision[]
  sealed: ReadonlySet<string>
  /** Digest to the time of its denial. */
  denied: ReadonlyMap<string, number>
  /** Entries that do not continue their environment's chain. */
  broken: readonly string[]
}

type Say = Record<string, unknown>

export function factsOf(log: Log): Facts {
  const changes = new Map<string, Change[]>()
  const broken: string[] = []
  const sealed = new Set<string>()
  const denied = new Map<string, number>()
  for (const entry of log.entries) {
    const kind = kindOf(entry.statement)
    if (kind === 'sealed') sealed.add(subjectOf(entry.statement))
    if (kind === 'denial') denied.set(subjectOf(entry.statement), timeOf(entry.statement))
    const fault = chain(changes, entry, kind)
    if (fault !== null) broken.push(`entry ${entry.index}: ${kind}: ${fault}`)
  }
  return { changes, sealed, denied, broken, decisions: log.entries.map(decisionOf) }
}

export function kindOf({ predicateType, predicate }: Statement): string {
  if (predicateType === 'https://slsa.dev/provenance/v1') return 'provenance'
  if (predicateType === 'https://cyclonedx.org/bom') return 'sbom'
  if (predicateType === 'https://slsa.dev/verification_summary/v1') {
    return predicate['verificationResult'] === 'PASSED' ? 'key' : 'denial'
  }
  const [, own = predicateType] = /^https:\/\/[^/]+\/([a-z-]+)\/v1$/.exec(predicateType) ?? []
  return own === 'artifact' ? String(predicate['state']) : own
}

function subjectOf({ subject }: Statement): string {
  return `sha256:${subject[0]?.digest.sha256}`
}

function timeOf({ predicate }: Statement): number {
  return Date.parse(String(predicate['time'] ?? predicate['timeVerified']))
}

/** A key's own part, whose name ends with the log's origin. */
function keyPart({ predicate }: Statement): Say {
  const name = Object.keys(predicate).find((one) => one.endsWith('/provisioning-key/v1'))
  return (name === undefined ? {} : predicate[name]) as Say
}

/** Appends to the environment's chain; answers with what is wrong when it does not continue it. */
function chain(changes: Map<string, Change[]>, entry: Entry, kind: string): string | null {
  if (kind !== 'change' && kind !== 'key' && kind !== 'activation') return null
  const says = kind === 'key' ? keyPart(entry.statement) : entry.statement.predicate
  const environment = String(says['environment'])
  const own = changes.get(environment) ?? []
  changes.set(environment, own)
  const last = own.at(-1)
  const epoch = Number(says['epoch'])
  if (kind === 'change') return chainChange(own, entry, epoch)
  if (last === undefined || last.epoch !== epoch) return `of epoch ${epoch}, not the last one`
  if (last.outcome !== null) return `epoch ${epoch} has its outcome already`
  if (kind === 'key') return chainKey(last, entry, Number(says['sequence']))
  last.outcome = outcomeOf(entry, timeOf(entry.statement))
  return null
}

function chainChange(own: Change[], entry: Entry, epoch: number): string | null {
  const last = own.at(-1)
  if (last?.outcome === null) return `epoch ${last.epoch} has no outcome yet`
  if (epoch !== (last?.epoch ?? 0) + 1) return `epoch ${epoch} after ${last?.epoch ?? 0}`
  own.push(changeOf(entry, timeOf(entry.statement)))
  return null
}

function chainKey(last: Change, entry: Entry, sequence: number): string | null {
  if (last.key !== null) return `epoch ${last.epoch} has its key already`
  const { leaf, index, statement } = entry
  last.key = { leaf, index, at: timeOf(statement), sequence, digest: subjectOf(statement) }
  return null
}

function changeOf({ index, statement }: Entry, at: number): Change {
  const { predicate } = statement
  const target = predicate['target'] as { digest: string }
  return {
    environment: String(predicate['environment']),
    epoch: Number(predicate['epoch']),
    change: String(predicate['change']),
    kind: String(predicate['changeKind']),
    index,
    at,
    digest: target.digest,
    wanted: Number(predicate['instances']),
    key: null,
    outcome: null,
  }
}

function outcomeOf({ index, statement }: Entry, at: number): Outcome {
  const { predicate } = statement
  return {
    index,
    at,
    outcome: predicate['outcome'] === 'active' ? 'active' : 'failed',
    serving: predicate['serving'] as Outcome['serving'],
    instances: predicate['instances'] as Outcome['instances'],
  }
}

/** What an entry decides, in words of its own: the same words twice are the same decision twice. */
function decisionOf({ index, statement }: Entry): Decision {
  const kind = kindOf(statement)
  const says = kind === 'key' ? keyPart(statement) : statement.predicate
  const parts = [says['environment'], says['change'], says['epoch'], says['build'], says['rule']]
  // Seen again minutes later it is another sight of the same thing.
  const minute = Math.floor(timeOf(statement) / 60_000)
  const also = kind === 'drift' ? [says['instance'], says['cause'], says['found'], minute] : []
  const why = kind === 'rejected' ? [says['code'], says['message']] : []
  const about = [...parts, ...also, ...why].filter((part) => part !== undefined).map(String)
  const subject = kind === 'roles' ? '' : subjectOf(statement)
  return { index, kind, about: `${kind} ${subject} ${about.join(' ')}`.trim() }
}
