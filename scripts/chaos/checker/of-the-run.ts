import type { ContainerEvent, Evidence } from './evidence.ts'
import type { Change, Facts, Key } from './facts.ts'
import type { Log } from './log.ts'
import { verdictOf, type Verdict } from './verdict.ts'

/** What happens to a container after somebody laid hands on it is not Kiln's doing alone. */
function ownContainers({
  containers,
  disturbances,
}: Pick<Evidence, 'containers' | 'disturbances'>): {
  own: ContainerEvent[]
  byHand: ReadonlyMap<string, number>
} {
  const byHand = new Map(disturbances.flatMap((one) => one.containers.map((id) => [id, one.at])))
  return {
    byHand,
    own: containers.filter(
      ({ id, at, environment }) => environment !== '' && at < (byHand.get(id) ?? Infinity),
    ),
  }
}

/** I1: each container started under a key that its environment had at that moment, as that key's image. */
export function onlyAdmissible(log: Log, facts: Facts, evidence: Evidence): Verdict {
  const starts = ownStarts(evidence)
  const broken = starts.flatMap((start) => {
    const why = whyNotAdmissible({ log, facts }, start)
    return why === null ? [] : [`${start.name} at ${time(start.at)}: ${why}`]
  })
  const promise =
    'an instance never runs a digest that was not admissible for its environment when it started'
  return verdictOf({ id: 'I1', promise }, starts.length, broken)
}

/** Kiln starts its own containers alone: one that somebody restarted by hand is known as a disturbance. */
function ownStarts(evidence: Evidence): ContainerEvent[] {
  return ownContainers(evidence).own.filter(({ action }) => action === 'start')
}

function whyNotAdmissible(
  { log, facts }: { log: Log; facts: Facts },
  start: ContainerEvent,
): string | null {
  const changes = facts.changes.get(start.environment) ?? []
  const key = changes.map((change) => change.key).find((one) => one?.leaf === start.key)
  if (!key) return `no key ${start.key.slice(0, 12)} of ${start.environment}`
  if (key.digest !== start.digest) return `its key is for ${key.digest}`
  if (start.at < key.at) return 'it started before its key was issued'
  const end = endOf(changes, key)
  if (start.at > end) return `its key was over at ${time(end)}`
  const denied = facts.denied.get(start.digest)
  if (denied !== undefined && start.at > denied) return 'its digest was denied'
  const manifest = log.blob(start.digest)
  if (manifest === undefined) return 'the store does not hold its manifest'
  const { config } = JSON.parse(manifest.toString('utf8')) as { config: { digest: string } }
  return config.digest === start.image
    ? null
    : `it runs the image ${start.image}, not ${config.digest}`
}

/** When a key stops to admit: a later one was activated, or it failed itself. */
function endOf(changes: readonly Change[], key: Key): number {
  for (const change of changes) {
    const { outcome } = change
    if (outcome === null || change.key === null || change.key.sequence < key.sequence) continue
    const own = change.key.leaf === key.leaf
    if (own && outcome.outcome === 'failed') return outcome.at
    if (!own && outcome.outcome === 'active') return outcome.at
  }
  return Infinity
}

/** I6: containers of an epoch are made and started between its change and the next one's. */
export function neverInterleaved(facts: Facts, evidence: Evidence): Verdict {
  const effects = ownContainers(evidence).own.filter(
    ({ action }) => action === 'create' || action === 'start',
  )
  const broken = effects.flatMap(({ environment, epoch, action, name, at }) => {
    const changes = facts.changes.get(environment) ?? []
    const own = changes.find((one) => one.epoch === epoch)
    const next = changes.find((one) => one.epoch === epoch + 1)
    if (own === undefined) return [`${action} of ${name}: no change took epoch ${epoch}`]
    if (at < own.at) return [`${action} of ${name} at ${time(at)}, before epoch ${epoch} was taken`]
    if (own.outcome !== null && at > own.outcome.at) {
      return [`${action} of ${name} at ${time(at)}, after epoch ${epoch} had ended`]
    }
    if (next !== undefined && at > next.at) return [`${action} of ${name} in epoch ${epoch + 1}`]
    return []
  })
  const promise = 'two changes of one environment never interleave their effects'
  return verdictOf({ id: 'I6', promise }, effects.length, broken)
}

/** I8: each change has one outcome in time; what serves at the end is what the last good one adopted. */
export function endsAtOne(
  facts: Facts,
  evidence: Evidence,
  { boundMs }: { boundMs: number },
): Verdict {
  const all = [...facts.changes.values()].flat()
  const broken: string[] = []
  for (const [environment, changes] of facts.changes) {
    broken.push(
      ...outcomes(changes),
      ...late(changes, evidence, boundMs),
      ...endState(environment, changes, evidence),
    )
  }
  for (const { operation } of neverEnded(evidence))
    broken.push(`${operation} was accepted and never ended`)
  const promise =
    'every change ends at exactly one of old and new, in bounded time; a failed one leaves the old serving'
  return verdictOf({ id: 'I8', promise }, all.length, broken)
}

function neverEnded({ told }: Evidence) {
  const ended = new Set(told.filter((one) => one.told === 'ended').map((one) => one.operation))
  return told.filter((one) => one.told === 'accepted' && !ended.has(one.operation))
}

type Serving = { digest: string; sequence: number } | null

/** What each death while a change was in work may add: a process starts again, on a busy machine. */
const perDeathMs = 30_000

function late(changes: readonly Change[], { disturbances }: Evidence, boundMs: number): string[] {
  return changes.flatMap(({ environment, epoch, at, outcome }) => {
    if (outcome === null) return []
    const deaths = disturbances.filter(
      ({ what, ...one }) => what === 'kill' && one.until >= at && one.at <= outcome.at,
    ).length
    const took = outcome.at - at
    return took > boundMs + deaths * perDeathMs
      ? [`${environment} epoch ${epoch} took ${took} ms, in which ${deaths} processes died`]
      : []
  })
}

function outcomes(changes: readonly Change[]): string[] {
  let serving: Serving = null
  const broken: string[] = []
  for (const change of changes) {
    const { environment, epoch, outcome } = change
    const name = `${environment} epoch ${epoch}`
    if (outcome === null) {
      broken.push(`${name} has no outcome`)
      continue
    }
    serving = servingAfter(change, serving)
    const told = servingText(outcome.serving)
    if (told !== servingText(serving)) {
      broken.push(`${name} ${outcome.outcome}: told to serve ${told}, not ${servingText(serving)}`)
    }
  }
  return broken
}

/** A change that failed leaves what was there; one without a key goes on under the old one. */
function servingAfter({ outcome, digest, key }: Change, before: Serving): Serving {
  if (outcome?.outcome !== 'active') return before
  return { digest, sequence: key?.sequence ?? before?.sequence ?? 0 }
}

function servingText(serving: Serving): string {
  return serving === null ? 'nothing' : `${serving.digest} by key ${serving.sequence}`
}

/** HAProxy's servers that get requests, and what runs, against what was adopted last. */
function endState(environment: string, changes: readonly Change[], evidence: Evidence): string[] {
  const last = changes.findLast(({ outcome }) => outcome?.outcome === 'active')
  if (last === undefined) return []
  const adopted = last.outcome?.instances ?? []
  const backend = `be:${environment.replace('/', '.')}`
  const behind = serversOf(evidence.edge.stat, backend)
  const broken: string[] = []
  if (adopted.length !== last.wanted) {
    broken.push(`${environment}: ${adopted.length} instances adopted, ${last.wanted} wanted`)
  }
  const names = adopted.map(({ name }) => name)
  if (!same(behind, names))
    broken.push(
      `${environment}: behind the edge are ${behind.join(' ')}; adopted: ${names.join(' ')}`,
    )
  const prefix = names[0]?.split('.').slice(0, 3).join('.')
  const running = evidence.left.containers.filter(
    ({ name, state }) => state === 'running' && name.split('.').slice(0, 3).join('.') === prefix,
  )
  const ids = running.map(({ id }) => id)
  if (
    !same(
      ids,
      adopted.map(({ id }) => id),
    )
  ) {
    broken.push(
      `${environment}: ${running.map(({ name }) => name).join(' ')} run; adopted: ${names.join(' ')}`,
    )
  }
  return broken
}

function serversOf(csv: string, backend: string): string[] {
  const [header = '', ...lines] = csv.split('\n')
  const columns = header.replace(/^# /, '').split(',')
  const cell = (line: string, column: string) => line.split(',')[columns.indexOf(column)] ?? ''
  return lines
    .filter((line) => cell(line, 'pxname') === backend && cell(line, 'type') === '2')
    .filter((line) => cell(line, 'status').startsWith('UP') && Number(cell(line, 'weight')) > 0)
    .map((line) => cell(line, 'svname'))
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one))
}

/** I15: each instance is made once, and nothing of Kiln's is left that no activation adopted. */
export function nothingRepeatedOrLeft(facts: Facts, evidence: Evidence): Verdict {
  const { own, byHand } = ownContainers(evidence)
  const made = own.filter(({ action }) => action === 'create')
  const first = new Map<string, ContainerEvent>()
  const broken: string[] = []
  for (const event of made) {
    const before = first.get(event.name)
    if (before !== undefined && !byHand.has(before.id)) {
      broken.push(`${event.name} was made at ${time(before.at)} and again at ${time(event.at)}`)
    }
    first.set(event.name, event)
  }
  broken.push(...leftOver(facts, evidence))
  const promise = 'a worker killed at any step repeats no effect and leaves no orphan'
  return verdictOf({ id: 'I15', promise }, made.length, broken)
}

function leftOver(facts: Facts, { left, networks }: Evidence): string[] {
  const adopted = new Set(
    [...facts.changes.values()].flatMap((changes) => {
      const last = changes.findLast(({ outcome }) => outcome?.outcome === 'active')
      return (last?.outcome?.instances ?? []).map(({ id }) => id)
    }),
  )
  const environments = facts.changes.size
  const created = new Set(networks.filter((one) => one.action === 'create').map((one) => one.name))
  return [
    ...left.containers
      .filter(({ id }) => !adopted.has(id))
      .map(({ name }) => `container ${name} is left`),
    ...(left.networks.length > environments
      ? [`${left.networks.length} networks are left for ${environments} environments`]
      : []),
    ...left.networks
      .filter((name) => !created.has(name))
      .map((name) => `network ${name} was there before`),
    ...left.volumes.map((name) => `volume ${name} is left`),
    ...left.images.map((name) => `image ${name} is left`),
  ]
}

function time(at: number): string {
  return Number.isFinite(at) ? new Date(at).toISOString() : 'never'
}
