import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Digest } from '../../src/domain/digest.ts'
import type { Endpoint } from '../../src/domain/effect.ts'
import { showProcesses } from '../../src/edge/master.ts'
import { freePort } from '../helpers/free-port.ts'
import {
  containersOf,
  effectOf,
  environment,
  hostAtHand,
  startOf,
  until,
  type HostAtHand,
} from '../runtime/host-at-hand.ts'
import { edgeAtHand, type EdgeAtHand } from './edge-at-hand.ts'

let host: HostAtHand
let edge: EdgeAtHand
let entrance: string
let own: string
let epoch = 0
const versions: Digest[] = []

beforeAll(async () => {
  host = await hostAtHand()
  const port = await freePort()
  entrance = `127.0.0.1:${port}`
  edge = await edgeAtHand(host.definitions, {
    fence: host.fence,
    entrance: { address: '127.0.0.1', port, tls: null },
  })
  const opened = await edge.activities.ensureEnvironment({
    ...effectOf(++epoch),
    definition: host.define(),
  })
  own = `${opened.address}:${opened.port}`
  versions.push(await host.artifact({ VERSION: 'old' }), await host.artifact({ VERSION: 'new' }))
}, 60_000)
afterAll(async () => {
  await edge.close()
  await host.close()
})

/** What the environment's workflow does with the host, in its order: one instance for all that there are. */
async function replace(version: 'old' | 'new', drainMs: number): Promise<Endpoint> {
  const definition = host.define({ stop: { graceMs: 1000, drainMs }, route: { path: '/' } })
  const effect = effectOf(++epoch)
  const digest = versions[version === 'old' ? 0 : 1] as Digest
  const { instances } = await host.activities.startInstances(
    startOf(epoch, { digest, definition, count: 1 }),
  )
  await host.activities.waitReady({ ...effect, definition, instances })
  await edge.activities.joinEdge({ ...effect, definition, instances })
  const keep = instances.map((one) => one.name)
  await edge.activities.leaveEdge({ ...effect, keep })
  await host.activities.stopInstances({ ...effect, keep })
  return instances[0] as Endpoint
}

async function openSocket(address: string) {
  const socket = new WebSocket(`ws://${address}/socket`)
  const closed = new Promise<number>((resolve) => {
    socket.addEventListener('close', ({ code }) => resolve(code))
  })
  await once(socket, 'open')
  return {
    closed,
    close: () => socket.close(1000),
    async ask(word: string): Promise<string> {
      const answer = once(socket, 'message').then(([event]) => String((event as MessageEvent).data))
      socket.send(word)
      return Promise.race([answer, closed.then((code) => `closed with ${code}`)])
    },
  }
}

/** Counts the events that came; `ended` says how the stream did. */
async function openEvents(address: string) {
  const ending = new AbortController()
  const response = await fetch(`http://${address}/events`, { signal: ending.signal })
  const seen = { count: 0, senders: new Set<string>() }
  const ended = (async () => {
    try {
      for await (const part of response.body ?? []) {
        seen.count++
        for (const line of Buffer.from(part).toString().split('\n\n')) {
          if (line !== '') seen.senders.add(line)
        }
      }
      return 'ended'
    } catch {
      return ending.signal.aborted ? 'closed by us' : 'cut'
    }
  })()
  return { seen, ended, close: () => ending.abort() }
}

/** An upload of which half is sent. */
async function beginUpload(address: string) {
  const half = randomBytes(8_000_000)
  const sending = request(`http://${address}/upload`, { method: 'PUT' })
  const answered = once(sending, 'response').then(
    async ([response]) => text(response),
    () => 'cut',
  )
  sending.on('error', () => undefined)
  await new Promise((resolve) => sending.write(half, resolve))
  return {
    answered,
    digest: createHash('sha256').update(half).update(half).digest('hex'),
    finish: () => sending.end(half),
  }
}

/** As another environment's first opening does it: what is open stays with the worker of before. */
async function reloadEdge(): Promise<void> {
  const definition = host.define()
  const other = { ...effectOf(epoch), environment: 'hello/test' as const, definition }
  await edge.activities.ensureEnvironment(other)
  if ((await showProcesses(edge.paths)).old.length === 0) throw new Error('nothing is open there')
}

async function isLeaving(name: string): Promise<boolean> {
  const view = await edge.activities.edgeState({ environment })
  return view?.servers.find((one) => one.name === name)?.status !== 'UP'
}

async function answeredBy(address: string): Promise<string> {
  const response = await fetch(`http://${address}/`, { method: 'POST', body: '{"id":"x"}' })
  return ((await response.json()) as { version: string }).version
}

describe('what is open when a replacement begins', () => {
  type Case = { what: string; at: () => string; reloads: boolean }
  const cases: Case[] = [
    { what: "at the environment's own port", at: () => own, reloads: false },
    { what: 'at the entrance', at: () => entrance, reloads: false },
    { what: 'with a worker that a reload replaced', at: () => entrance, reloads: true },
  ]

  test.each(cases)(
    'goes on to its end: $what',
    async ({ at, reloads }) => {
      const before = await replace('old', 60_000)
      const [socket, events, upload] = [
        await openSocket(at()),
        await openEvents(at()),
        await beginUpload(at()),
      ]
      expect(await socket.ask('before')).toBe('old before')
      if (reloads) await reloadEdge()
      const order: string[] = []
      const replaced = replace('new', 60_000).then(() => order.push('replaced'))
      await until(() => isLeaving(before.name))

      // Everything new goes to the new one; what was open is still with the old one, and is not cut.
      await until(async () => (await answeredBy(at())) === 'new')
      for (let count = 0; count < 10; count++) expect(await answeredBy(at())).toBe('new')
      expect(await socket.ask('during')).toBe('old during')
      const { count } = events.seen
      await until(() => events.seen.count > count + 3)
      upload.finish()
      expect(await upload.answered).toBe(`old ${upload.digest}`)
      expect([...events.seen.senders]).toEqual(['data: old'])
      expect(await containersOf(host)).toContain(before.name)

      // The last to end lets the old one go.
      events.close()
      expect(await events.ended).toBe('closed by us')
      expect(await socket.ask('after')).toBe('old after')
      order.push('socket')
      socket.close()
      expect(await socket.closed).toBe(1000)
      await replaced
      expect(order).toEqual(['socket', 'replaced'])
      expect(await containersOf(host)).not.toContain(before.name)
    },
    90_000,
  )

  test('is cut when the drain time is over, so that the change ends', async () => {
    const before = await replace('old', 500)
    const [socket, events, upload] = [
      await openSocket(own),
      await openEvents(own),
      await beginUpload(own),
    ]
    await replace('new', 500)
    expect(await socket.closed).toBe(1006)
    expect(await events.ended).toBe('cut')
    expect(await upload.answered).toBe('cut')
    expect(await containersOf(host)).not.toContain(before.name)
    // Whoever comes again is with the new one.
    const again = await openSocket(own)
    expect(await again.ask('again')).toBe('new again')
    again.close()
    await again.closed
  }, 90_000)
})
