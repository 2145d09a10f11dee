import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readIf } from './log.ts'

/** What was recorded beside the ledger, one JSON value a line, written while it happened. */

/**
 * requests….jsonl, a file for each client: one request to a service, as its client saw it. Times in
 * milliseconds since 1970. `instance` is the one that the edge named in its answer, also in a bad one;
 * empty when there was no answer, or none that names one.
 */
export type Request = {
  id: string
  at: number
  ms: number
  environment: string
  ok: boolean
  error: string
  instance: string
}

/** operations.jsonl: what Kiln's API promised or told its client. */
export type Told = {
  at: number
  told: 'accepted' | 'ended'
  operation: string
  kind: string
  state: string
  environment: string
  digest: string
}

/** disturbances.jsonl: what was done from outside, on purpose. `until` is when it was over. */
export type Disturbance = {
  at: number
  until: number
  what: 'kill' | 'outside' | 'drop'
  /** A process's name, or `instance`. */
  target: string
  /** Containers that were made, stopped, paused or removed by hand. */
  containers: readonly string[]
}

export type ContainerEvent = {
  at: number
  action: string
  id: string
  name: string
  image: string
  environment: string
  epoch: number
  digest: string
  key: string
  host: string
}

/** docker-final.json: what the engine listed after everything had ended. */
export type Left = {
  containers: readonly { id: string; name: string; state: string; kind: 'instance' | 'build' }[]
  networks: readonly string[]
  volumes: readonly string[]
  images: readonly string[]
}

/** edge.json: HAProxy's own words at the end. */
export type Edge = { stat: string }

/** history.json: each environment's history as the SQL index told it, before and after it was wiped. */
export type Histories = Readonly<
  Record<string, { before: readonly HistoryRow[]; after: readonly HistoryRow[] }>
>
export type HistoryRow = {
  operation: string
  kind: string
  epoch: number
  outcome: string
  sequence: number | null
  digest: string
}

export type Evidence = {
  requests: readonly Request[]
  told: readonly Told[]
  disturbances: readonly Disturbance[]
  containers: readonly ContainerEvent[]
  networks: readonly { at: number; action: string; name: string }[]
  /** Signed notes that were seen while it ran, in the order seen. */
  checkpoints: readonly string[]
  left: Left
  edge: Edge
  histories: Histories
}

/** `host`: of an engine that several Kilns use, the containers of this one alone are its own. */
export function readEvidence(folder: string, host: string): Evidence {
  const lines = <T>(name: string): T[] => parseLines<T>(readIf(join(folder, name)))
  const whole = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const events = distinct(lines<DockerEvent>('docker-events.jsonl'))
  return {
    requests: readdirSync(folder)
      .filter((name) => /^requests.*\.jsonl$/.test(name))
      .flatMap((name) => lines<Request>(name)),
    told: lines<Told>('operations.jsonl'),
    disturbances: lines<Disturbance>('disturbances.jsonl'),
    containers: events
      .filter(({ Type }) => Type === 'container')
      .map(containerEvent)
      .filter((event) => event.host === host),
    networks: events
      .filter(({ Type }) => Type === 'network')
      .map(({ timeNano, Action, Actor }) => ({
        at: timeNano / 1e6,
        action: Action,
        name: Actor.Attributes['name'] ?? '',
      })),
    checkpoints: lines<{ note: string }>('checkpoints.jsonl').map(({ note }) => note),
    left: whole('docker-final.json') as Left,
    edge: whole('edge.json') as Edge,
    histories: whole('history.json') as Histories,
  }
}

/** A writer that was killed may have left half a line at the end. */
function parseLines<T>(bytes: Buffer | undefined): T[] {
  const lines = (bytes?.toString('utf8') ?? '').split('\n')
  return lines.slice(0, -1).flatMap((line) => {
    try {
      return [JSON.parse(line) as T]
    } catch {
      return []
    }
  })
}

export type DockerEvent = {
  Type: string
  Action: string
  timeNano: number
  Actor: { ID: string; Attributes: Readonly<Record<string, string>> }
}

/** The recorder asks again from a little before where it was cut off: the same event may be there twice. */
function distinct(events: readonly DockerEvent[]): DockerEvent[] {
  const once = new Map(
    events.map((event) => [`${event.timeNano} ${event.Action} ${event.Actor.ID}`, event]),
  )
  return [...once.values()].toSorted((a, b) => a.timeNano - b.timeNano)
}

function containerEvent({ timeNano, Action, Actor }: DockerEvent): ContainerEvent {
  const says = (name: string) => Actor.Attributes[name] ?? ''
  return {
    at: timeNano / 1e6,
    action: Action,
    id: Actor.ID,
    name: says('name'),
    image: says('image'),
    environment: says('kiln.environment'),
    epoch: Number(says('kiln.epoch')),
    digest: says('kiln.digest'),
    key: says('kiln.key'),
    host: says('kiln.host'),
  }
}
