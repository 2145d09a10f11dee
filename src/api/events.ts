import type { FastifyReply } from 'fastify'
import type { Operation } from '../domain/operation.ts'
import { KilnError } from '../domain/error.ts'
import { operation as schema } from './views.ts'

type Snapshots = AsyncIterable<{ id: number; operation: Operation }>

/** The number in a Last-Event-ID header; 0 without one. */
export function lastEventId(header: string | string[] | undefined): number {
  if (header === undefined) return 0
  if (typeof header === 'string' && /^[0-9]{1,15}$/.test(header)) return Number(header)
  throw new KilnError('invalid_input', 'Last-Event-ID is not a number that Kiln gave', {
    place: 'Last-Event-ID',
  })
}

/** The streams that are open, so that closing the server ends them at once instead of waiting for them. */
export type OpenStreams = {
  add(controller: AbortController): () => void
  closeAll(): void
}

export function openStreams(): OpenStreams {
  const open = new Set<AbortController>()
  return {
    add(controller) {
      open.add(controller)
      return () => open.delete(controller)
    },
    closeAll() {
      for (const controller of open) controller.abort()
    },
  }
}

/**
 * Sends snapshots until they end, the reader goes away or the server closes. An id that is not above
 * the one before is not sent: a reader that comes back never sees one twice.
 */
export async function sendEvents(
  reply: FastifyReply,
  from: {
    after: number
    streams: OpenStreams
    snapshots: (after: number, signal: AbortSignal) => Snapshots
  },
): Promise<void> {
  const controller = new AbortController()
  const gone = new Promise<undefined>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  const forget = from.streams.add(controller)
  // From here on this function ends the response, also when the reader has gone.
  reply.hijack()
  reply.sse.onClose(() => controller.abort())
  reply.sse.sendHeaders()
  const iterator = from.snapshots(from.after, controller.signal)[Symbol.asyncIterator]()
  let last = from.after
  try {
    for (;;) {
      // A source that does not heed the signal must not keep the stream open.
      const next = await Promise.race([iterator.next(), gone])
      if (next === undefined || next.done === true) return
      const { id, operation } = next.value
      if (id <= last) continue
      last = id
      const data = schema.parse(operation)
      await Promise.race([reply.sse.send({ id: String(id), event: 'operation', data }), gone])
    }
  } catch (error) {
    // The head is sent, so there is no status left to say it with: end the stream, the reader comes back.
    reply.log.error({ err: error }, 'an event stream ended early')
  } finally {
    forget()
    controller.abort()
    void iterator.return?.().catch(() => undefined)
    reply.sse.close()
  }
}
