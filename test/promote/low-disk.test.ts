import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { digestOfJson } from '../../signing/canonical.ts'
import type { Wish } from '../../src/domain/request.ts'
import { mendingShare } from '../../src/main/disk-guard.ts'
import { promoteActivities } from '../../src/promote/activities.ts'
import { freeBytes, lowDisk } from '../../src/store/free-space.ts'
import { FactLog } from '../helpers/facts.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-low-'))
})
afterAll(() => rm(folder, { recursive: true }))

const log = new FactLog()
const [one, two] = [log.seal('one'), log.seal('two')]
for (const environment of ['hello/dev', 'hello/test', 'hello/prod'] as const)
  for (const digest of environment === 'hello/prod' ? [one] : [one, two])
    log.promote(environment, digest)

/** What is decided where `part` of what is free is what work begins with. */
async function decided(environment: 'hello/dev' | 'hello/prod', wish: Wish, part: number) {
  const minimum = Math.floor((await freeBytes(folder)) * part)
  const activities = promoteActivities({
    ledger: async () => log.ledger,
    digestOfJson,
    definition: async () => ({ secrets: { A: 'file:a' } }) as never,
    room: (need) => lowDisk([folder], need === 'work' ? minimum : mendingShare(minimum)),
    gone: async () => null,
    request: () => Promise.reject(new Error('nothing is handed on')),
    now: () => new Date('2026-06-01T00:00:00Z'),
  })
  return await activities.decideChange({
    id: 'change',
    environment,
    wish,
    reason: 'test',
    principal: { name: 'ann', kind: 'token' },
    requestedAt: '2026-06-01T00:00:00Z',
  })
}

const works: [what: string, environment: 'hello/dev' | 'hello/prod', wish: Wish][] = [
  ['a promotion', 'hello/prod', { kind: 'promotion', digest: two, automatic: false }],
  ['a scale', 'hello/prod', { kind: 'scale', instances: 3 }],
  ['a rotation', 'hello/prod', { kind: 'rotation' }],
]
const mends: typeof works = [
  ['a rollback', 'hello/dev', { kind: 'rollback', to: null }],
  [
    'a replacement',
    'hello/prod',
    {
      kind: 'replacement',
      drifts: [{ instance: 'i', cause: 'unknown', found: 'another', expected: 'running' }],
    },
  ],
]

test.each(works)('%s is refused before it begins where little is free', async (...row) => {
  const [, environment, wish] = row
  expect(await decided(environment, wish, 2)).toMatchObject({
    kind: 'refused',
    rule: 'low-disk',
    message: expect.stringContaining(`are free at ${folder}`) as string,
    fix: expect.stringContaining('kiln prune') as string,
  })
  expect(await decided(environment, wish, 0.1)).toMatchObject({ kind: 'change' })
})

test.each(mends)('%s begins with a quarter of it, and with less it does not', async (...row) => {
  const [, environment, wish] = row
  expect(await decided(environment, wish, 2)).toMatchObject({ kind: 'change' })
  expect(await decided(environment, wish, 8)).toMatchObject({ kind: 'refused', rule: 'low-disk' })
})

test('what was denied is left on a full disk too', async () => {
  log.add({ kind: 'denial', artifact: two, body: { reason: 'CVE', requestedBy: 'ann' } })
  const change = { kind: 'change', body: { changeKind: 'return', target: { digest: one } } }
  expect(await decided('hello/dev', { kind: 'return' }, 8)).toMatchObject(change)
})
