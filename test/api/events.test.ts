import { afterEach, beforeEach, expect, test } from 'vitest'
import { client } from '../../src/api/client.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { memoryPorts, secret, startTestApi, testDigest } from '../helpers/api-ports.ts'

let ports: ReturnType<typeof memoryPorts>
let api: Awaited<ReturnType<typeof startTestApi>>

beforeEach(async () => {
  ports = memoryPorts()
  ports.state.script = [{ state: 'running' }]
  api = await startTestApi(ports, { heartbeatMs: 20 })
})
afterEach(() => api.app.close())

const to = { params: { app: 'hello', environment: 'prod' }, body: { digest: testDigest('a1') } }

async function promotion() {
  const kiln = client(api)
  const { operation } = await kiln.promote(to)
  return { kiln, id: operation.id }
}

async function take(events: AsyncIterable<{ id: number; data: Operation }>, count: number) {
  const seen: { id: number; data: Operation }[] = []
  for await (const event of events) {
    seen.push(event)
    if (seen.length === count) break
  }
  return seen
}

test('snapshots come in order, and the stream ends with the operation', async () => {
  const { kiln, id } = await promotion()
  const events = await kiln.events({ params: { id } })
  ports.progress(id, { result: { sequence: 3 } })
  ports.progress(id, { state: 'succeeded' })
  const seen = await take(events, Infinity)
  expect(seen.map((one) => one.id)).toEqual([1, 2, 3, 4])
  expect(seen.at(-1)?.data).toMatchObject({ state: 'succeeded', result: { sequence: 3 } })
})

test('a reader that comes back sees every snapshot once, also those it missed', async () => {
  const { kiln, id } = await promotion()
  const seen = await take(await kiln.events({ params: { id } }), 2)
  for (let sequence = 3; sequence < 8; sequence += 1) {
    ports.progress(id, { result: { sequence } })
    if (sequence % 2 === 0) continue
    const after = seen.at(-1)?.id ?? 0
    seen.push(...(await take(await kiln.events({ params: { id } }, { after }), sequence - after)))
  }
  ports.progress(id, { state: 'failed' })
  seen.push(...(await take(await kiln.events({ params: { id } }, { after: 7 }), Infinity)))
  expect(seen.map((one) => one.id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
})

test('a source that repeats itself is not passed on twice', async () => {
  const { kiln, id } = await promotion()
  ports.progress(id, { state: 'succeeded' })
  const watch = ports.operations.watch.bind(ports.operations)
  ports.operations.watch = async function* repeating(...given) {
    yield* watch(given[0], 0, given[2])
    yield* watch(given[0], 0, given[2])
  }
  const seen = await take(await kiln.events({ params: { id } }, { after: 1 }), Infinity)
  expect(seen.map((one) => one.id)).toEqual([2, 3])
})

test('an idle stream says that it lives', async () => {
  const { id } = await promotion()
  const stop = new AbortController()
  const answer = await stream(id, stop.signal)
  let text = ''
  for await (const chunk of answer.body ?? []) {
    text += new TextDecoder().decode(chunk)
    if (text.includes(': heartbeat')) break
  }
  expect(text).toMatch(/^id: 1\nevent: operation\ndata: \{.*\}\n\n/)
  stop.abort()
})

test('only what the contract declares is in an event', async () => {
  const { kiln, id } = await promotion()
  ports.progress(id, Object.assign({ state: 'succeeded' as const }, { secret: 'canary-91' }))
  const answer = await stream(id)
  expect(await answer.text()).not.toContain('canary-91')
  expect(await take(await kiln.events({ params: { id } }), Infinity)).toHaveLength(3)
})

test('closing the server ends an open stream at once', async () => {
  const { id } = await promotion()
  const answer = await stream(id)
  const ended = answer.text()
  let closed = false
  await Promise.race([api.app.close().then(() => (closed = true)), ended])
  await ended
  await expect.poll(() => closed).toBe(true)
})

test('a source that never ends does not keep the server from closing', async () => {
  const { id } = await promotion()
  ports.operations.watch = () => ({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
  })
  const answer = await stream(id)
  await api.app.close()
  expect(await answer.text()).not.toContain('data:')
})

test('a reader that goes away stops its source', async () => {
  const { id } = await promotion()
  const signals: AbortSignal[] = []
  const watch = ports.operations.watch.bind(ports.operations)
  ports.operations.watch = (operation, after, signal) => {
    signals.push(signal)
    return watch(operation, after, signal)
  }
  const stop = new AbortController()
  await stream(id, stop.signal)
  stop.abort()
  await expect.poll(() => signals[0]?.aborted).toBe(true)
})

test.each(['x', '-1', '1.5', '99999999999999999999'])(
  'Last-Event-ID %s is refused',
  async (given) => {
    const { id } = await promotion()
    const answer = await stream(id, undefined, { 'last-event-id': given })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ code: 'invalid_input', place: 'Last-Event-ID' })
  },
)

test('an operation that is not there is said before the stream begins', async () => {
  const answer = await stream('promotion.none')
  expect(answer.status).toBe(404)
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
})

function stream(id: string, signal?: AbortSignal, headers: Record<string, string> = {}) {
  return fetch(`${api.address}/api/v1/operations/${id}/events`, {
    headers: { authorization: `Bearer ${secret}`, ...headers },
    ...(signal === undefined ? {} : { signal }),
  })
}
