import { expect, test } from 'vitest'
import { digestOfJson } from '../../signing/canonical.ts'
import type { EnvironmentName } from '../../src/domain/name.ts'
import type { Wish } from '../../src/domain/request.ts'
import { keptArtifacts } from '../../src/main/kept-artifacts.ts'
import { promoteActivities } from '../../src/promote/activities.ts'
import { collectedKey } from '../../src/store/collected.ts'
import { holdingStore } from '../../src/store/held-store.ts'
import { digestFor, FactLog, hash } from '../helpers/facts.ts'
import { memoryStore } from '../helpers/memory-store.ts'

const prod = 'hello/prod' as EnvironmentName
const never = () => Promise.reject(new Error('not asked for'))

function decide(log: FactLog, { store }: ReturnType<typeof memoryStore>, wish: Wish) {
  const kept = keptArtifacts({
    store: holdingStore(store),
    ledger: { facts: () => log.facts, publishedBundle: never },
    origin: 'kiln.test',
  })
  const activities = promoteActivities({
    ledger: async () => log.ledger,
    digestOfJson,
    definition: never,
    room: async () => undefined,
    gone: kept.gone,
    request: never,
    now: () => new Date(0),
  })
  return activities.decideChange({
    id: 'change.hello.prod.x',
    environment: prod,
    wish,
    reason: 'test',
    principal: { name: 'ana', kind: 'token' },
    requestedAt: '2026-01-01T00:00:00Z',
  })
}

/** b serves; a was collected, and both were proved in the environment before. */
async function collectedWorld() {
  const log = new FactLog()
  const memory = memoryStore(undefined, () => 1)
  for (const name of ['a', 'b']) {
    log.promote('hello/test', log.seal(name))
    log.promote(prod, digestFor(name))
  }
  await memory.store.put(`repositories/hello/${hash('b')}`, Buffer.from('x'))
  await memory.store.put(collectedKey(digestFor('a')), Buffer.from('x'))
  return { log, memory }
}

test.each<[string, Wish]>([
  ['promotion', { kind: 'promotion', digest: digestFor('a'), automatic: false }],
  ['rollback', { kind: 'rollback', to: digestFor('a') }],
])('a %s of what was collected is refused, and says how to get it again', async (_kind, wish) => {
  const { log, memory } = await collectedWorld()
  expect(await decide(log, memory, wish)).toEqual({
    kind: 'refused',
    rule: 'collected',
    message: `${digestFor('a')} was collected: no environment could return to it any more`,
    fix: `build it again, then try again: kiln rebuild ${digestFor('a')}`,
  })
})

test('what is lost without having been collected is told apart', async () => {
  const { log, memory } = await collectedWorld()
  memory.objects.delete(collectedKey(digestFor('a')))
  expect(await decide(log, memory, { kind: 'rollback', to: digestFor('a') })).toMatchObject({
    kind: 'refused',
    fix: 'kiln fsck',
  })
})

test('what is there is decided as ever, and is young from then on: no collection takes it', async () => {
  const { log, memory } = await collectedWorld()
  const marker = `repositories/hello/${hash('a')}`
  await memory.store.put(marker, Buffer.from('x'))
  memory.touched.set(marker, -1000)
  expect(await decide(log, memory, { kind: 'rollback', to: digestFor('a') })).toMatchObject({
    kind: 'change',
  })
  expect(memory.touched.get(marker)).toBe(1)
})
