import proto from '@temporalio/proto'
import { readFileSync } from 'node:fs'

// Not the SDK's historyToJSON and historyFromJSON: they fail where another protobufjs than the SDK's
// stands at the top of node_modules.
const { History } = proto.temporal.api.history.v1
type History = proto.temporal.api.history.v1.IHistory

/**
 * Who ran it and where its code lay is nobody's business. What the SDK says of itself stays: without its
 * flags a replay does not even compare which activities are called.
 */
const dropped = new Set(['identity', 'stackTrace'])
/** A worker's own queue is named by its process and machine. */
const ownQueue = /^\d+@.*$/

function kept(key: string, value: unknown): unknown {
  if (dropped.has(key)) return undefined
  return key === 'name' && typeof value === 'string' ? value.replace(ownQueue, 'own') : value
}

/** A workflow's history as text, a line for each event. */
export function historyText(history: History): string {
  const { events } = History.toObject(History.fromObject(history), {
    longs: String,
    enums: String,
    bytes: String,
  }) as { events: unknown[] }
  const lines = events.map((event) => JSON.stringify(event, kept))
  return `{"events": [\n${lines.join(',\n')}\n]}\n`
}

export function readHistory(path: string): History {
  return History.fromObject(JSON.parse(readFileSync(path, 'utf8')) as object)
}
