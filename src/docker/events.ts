import { z } from 'zod'
import type { DockerClient } from './client.ts'
import { callDocker, dockerError } from './client.ts'
import { jsonLines } from './json-lines.ts'

const engineEvent = z.object({
  Type: z.string(),
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()) }),
  timeNano: z.number(),
})

export type EngineEvent = {
  type: string
  /** `start`, `die`, `destroy`, `pause`, …; exec events carry their command after a colon. */
  action: string
  id: string
  attributes: Readonly<Record<string, string>>
  /** Nanoseconds since 1970, rounded to what a number holds. */
  timeNano: number
}

/**
 * What happens in the engine from now on, until `signal` is aborted (then it throws the signal's reason).
 * Throws `docker_unavailable` when the engine goes away: the caller subscribes again and compares what
 * runs with what should, because events in between are lost.
 */
export async function* engineEvents(
  docker: DockerClient,
  options: { filters: Readonly<Record<string, readonly string[]>>; signal: AbortSignal },
): AsyncGenerator<EngineEvent> {
  const { filters, signal } = options
  const body = await callDocker(
    () => docker.getEvents({ filters: JSON.stringify(filters), abortSignal: signal }),
    signal,
  )
  try {
    for await (const line of jsonLines(body)) {
      const event = engineEvent.parse(line)
      yield {
        type: event.Type,
        action: event.Action,
        id: event.Actor.ID,
        attributes: event.Actor.Attributes,
        timeNano: event.timeNano,
      }
    }
  } catch (error) {
    signal.throwIfAborted()
    throw dockerError(error)
  }
}
