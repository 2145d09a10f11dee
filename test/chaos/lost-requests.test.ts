import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Request } from '../../scripts/chaos/checker/evidence.ts'
import { judge } from '../../scripts/chaos/checker/judge.ts'
import { at, containerEvent, goodRun, idOf, nameOf, request, type Run } from './good-run.ts'

/** Which failed requests are excused: each rule holds where it must, and each of its edges is crossed once. */

let folder: string
let run: Run

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'kiln-requests-'))
  run = await goodRun(folder)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function judged() {
  run.write()
  return judge({ ...run, host: 'x', boundMs: 300_000 })
}

/** An instance is killed from outside at second 20 of epoch 2, ends 0.2 s later, and is replaced at second 25. */
function killedByHand(id = idOf(2)): void {
  run.disturbances.push({
    at: at(2, 20),
    until: at(2, 25),
    what: 'outside',
    target: 'instance',
    containers: [id],
  })
  run.events.push(containerEvent({ action: 'die', at: at(2, 20.2), epoch: 2, id }))
}

/** A process is killed at second 20 of epoch 2 and back a second later. */
function away(target: string): void {
  const killed = { what: 'kill', target, containers: [] } as const
  run.disturbances.push({ at: at(2, 20), until: at(2, 21), ...killed })
}

function failing(given: Partial<Request>): void {
  run.requests.push(request({ ok: false, instance: '', ...given }))
}

const violations: readonly (readonly [what: string, says: RegExp, seed: () => void])[] = [
  [
    'a request on another instance than the one that was killed from outside',
    /on kiln-x.hello.prod.2.2: .*status 502/,
    () => {
      killedByHand()
      failing({
        at: at(2, 20),
        ms: 200,
        error: 'status 502',
        instance: `${nameOf(2).slice(0, -1)}2`,
      })
    },
  ],
  [
    'an answer that names no instance, while one was killed from outside',
    /on no instance: .*status 503/,
    () => {
      killedByHand()
      failing({ at: at(2, 20), ms: 200, error: 'status 503' })
    },
  ],
  [
    'a request that was over before an instance was killed from outside',
    /status 502/,
    () => {
      killedByHand()
      failing({ at: at(2, 19), ms: 900, error: 'status 502', instance: nameOf(2) })
    },
  ],
  [
    'a request that began after the killed instance had ended',
    /status 502/,
    () => {
      killedByHand()
      failing({ at: at(2, 20.3), error: 'status 502', instance: nameOf(2) })
    },
  ],
  [
    'a connection that was cut after the killed instance had ended, though it was not yet replaced',
    /on no instance: socket hang up/,
    () => {
      killedByHand()
      failing({ at: at(2, 22), error: 'socket hang up' })
    },
  ],
  [
    'a connection that was cut in another environment than the killed instance’s',
    /hello\/dev .* socket hang up/,
    () => {
      killedByHand()
      failing({ at: at(2, 20), ms: 200, error: 'socket hang up', environment: 'hello/dev' })
    },
  ],
  [
    'a connection that was cut while somebody laid hands on what was never an instance',
    /socket hang up/,
    () => {
      killedByHand('unknown')
      run.events = run.events.filter(({ Action }) => Action !== 'die')
      failing({ at: at(2, 20), ms: 200, error: 'socket hang up' })
    },
  ],
  [
    'a bad answer while HAProxy was away',
    /on no instance: .*status 503/,
    () => {
      away('haproxy')
      failing({ at: at(2, 20.5), error: 'status 503' })
    },
  ],
  [
    'a bad answer of an instance while HAProxy was away',
    /on kiln-x.hello.prod.2.1: /,
    () => {
      away('haproxy')
      failing({ at: at(2, 20.5), error: 'another request’s answer: y', instance: nameOf(2) })
    },
  ],
  [
    'a connection that was refused once HAProxy was back',
    /ECONNREFUSED/,
    () => {
      away('haproxy')
      failing({ at: at(2, 21.1), error: 'connect ECONNREFUSED' })
    },
  ],
  [
    'a connection that was cut before HAProxy was killed',
    /socket hang up/,
    () => {
      away('haproxy')
      failing({ at: at(2, 19), ms: 900, error: 'socket hang up' })
    },
  ],
  [
    'a connection that was cut while the server was killed',
    /socket hang up/,
    () => {
      away('server')
      failing({ at: at(2, 20.5), error: 'socket hang up' })
    },
  ],
]

test.each(violations)('%s is a lost request', (...[, says, seed]) => {
  seed()
  const verdict = judged().find(({ id }) => id === 'I7')
  expect(verdict?.verdict).toBe('broken')
  expect(verdict?.evidence.join('\n')).toMatch(says)
})

test('requests under way on what was killed from outside are counted apart', () => {
  killedByHand()
  failing({ at: at(2, 19.9), ms: 300, error: 'status 502', instance: nameOf(2) })
  failing({ at: at(2, 20.1), ms: 5000, error: 'status 504', instance: nameOf(2) })
  failing({ at: at(2, 19.9), ms: 300, error: 'socket hang up' })
  const verdicts = judged()
  expect(verdicts.filter(({ verdict }) => verdict !== 'held')).toEqual([])
  expect(verdicts.find(({ id }) => id === 'I7')?.apart).toBe(3)
})

test('connections that were cut or refused while HAProxy was away are counted apart', () => {
  away('haproxy')
  failing({ at: at(2, 19.9), ms: 150, error: 'socket hang up' })
  failing({ at: at(2, 20.5), error: 'connect ECONNREFUSED' })
  const verdicts = judged()
  expect(verdicts.filter(({ verdict }) => verdict !== 'held')).toEqual([])
  expect(verdicts.find(({ id }) => id === 'I7')?.apart).toBe(2)
})

test('an instance whose end the engine could not tell was over when it was replaced', () => {
  killedByHand()
  run.events = run.events.filter(({ Action }) => Action !== 'die')
  failing({ at: at(2, 24), error: 'status 502', instance: nameOf(2) })
  expect(judged().find(({ id }) => id === 'I7')).toMatchObject({ verdict: 'held', apart: 1 })
})
