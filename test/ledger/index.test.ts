import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Ledger } from '../../src/domain/ledger.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { openIndex, type IndexSource, type LedgerIndex } from '../../src/ledger/index-database.ts'
import { FactLog } from '../helpers/facts.ts'
import { scratch } from '../helpers/store-scratch.ts'

const logger = pino({ level: 'silent' })

/** An empty index; making one takes seconds, copying it does not. */
const made = mkdtempSync(join(tmpdir(), 'kiln-index-'))

beforeAll(async () => {
  const index = await openIndex({ dir: made, logger })
  await index.close()
}, 60_000)
afterAll(() => {
  rmSync(made, { recursive: true })
})

function empty(): string {
  const dir = scratch()
  cpSync(made, dir, { recursive: true })
  return dir
}

async function open(dir: string): Promise<LedgerIndex> {
  const index = await openIndex({ dir, logger })
  onTestFinished(() => index.close())
  return index
}

/** A log of every kind of fact: two apps, changes that end well and badly, races, denials. */
function history(): FactLog {
  const log = new FactLog()
  const [one, two] = [log.seal('one'), log.seal('two')]
  log.seal('other', 'shop', ['live'])
  log.seal('one')
  log.promote('hello/dev', one)
  log.promote('hello/test', one)
  log.change('hello/test', two)
  log.key('hello/test', two)
  log.outcome('hello/test', 'failed', { failure: { code: 'change_failed', message: 'not ready' } })
  log.change('hello/dev', two, { epoch: 9 })
  log.promote('hello/dev', two)
  log.promote('hello/dev', one, 'rollback')
  log.promote('hello/dev', one, 'scale')
  log.add({ kind: 'denial', artifact: two, body: { reason: 'leaks', requestedBy: 'ann' } })
  log.add({ kind: 'roles', artifact: null })
  for (let n = 0; n < 3; n += 1) {
    log.add({
      kind: 'refusal',
      artifact: two,
      body: {
        environment: n === 0 ? null : 'hello/prod',
        change: `c${n}`,
        rule: 'not-proved',
        message: 'no',
        requestedBy: 'bob',
      },
    })
  }
  log.change('hello/test', one)
  return log
}

/** The log up to a size, as a reader would show it. */
function source(log: FactLog, size = log.facts.length): IndexSource {
  const facts: readonly Fact[] = log.facts.slice(0, size)
  const ledger: Ledger = { ...log.ledger, size }
  return {
    refresh: async () => ledger,
    facts: (from = 0) => facts.filter((fact) => fact.index >= from),
  }
}

async function dump(index: LedgerIndex): Promise<string> {
  const lines: string[] = []
  for await (const line of index.dump()) lines.push(line)
  return lines.join('')
}

test('folding step by step, at once, and anew gives the same rows byte for byte', async () => {
  const log = history()
  const index = await open(empty())
  for (let size = 1; size <= log.facts.length; size += 3) await index.catchUp(source(log, size))
  expect(await index.catchUp(source(log))).toBe(log.facts.length)
  const before = await dump(index)
  expect(before.match(/^facts /gm)).toHaveLength(log.facts.length)
  expect(before).toContain('"void":true')
  await index.saveWatch({ id: 'w', repository: '/r', branches: ['main'], heads: { main: 'a' } })

  const remade = await index.reindex(source(log))
  expect(await dump(index)).toBe(before)
  expect(remade).toEqual({
    entries: log.facts.length,
    digest: `sha256:${createHash('sha256').update(before).digest('hex')}`,
  })
  expect(await index.watches()).toEqual([
    { id: 'w', repository: '/r', branches: ['main'], heads: { main: 'a' } },
  ])

  const other = await open(empty())
  await other.catchUp(source(log))
  expect(await dump(other)).toBe(before)
})

test('answers what the API asks', async () => {
  const log = history()
  const index = await open(empty())
  const callers = Array.from({ length: 5 }, () => index.catchUp(source(log)))
  await Promise.all(callers)
  const [one, two, other] = [...log.ledger.sealed.keys()]

  const first = await index.listArtifacts({}, { limit: 2 })
  expect(first.items.map((row) => row.digest)).toEqual([other, two])
  expect(first.items[1]).toMatchObject({ denied: { reason: 'leaks', requestedBy: 'ann' } })
  const second = await index.listArtifacts({}, { limit: 2, cursor: first.next ?? '' })
  expect(second).toMatchObject({
    items: [{ digest: one, environments: ['hello/dev', 'hello/test'], denied: null }],
    next: null,
  })
  expect((await index.listArtifacts({ app: 'shop' }, { limit: 9 })).items).toHaveLength(1)
  expect(await index.artifactsBeginningWith(two?.slice(7, 15) ?? '', 3)).toMatchObject([
    { digest: two },
  ])
  expect(await index.artifactsBeginningWith('%', 3)).toEqual([])

  const dev = await index.history('hello/dev', { limit: 2 })
  expect(dev.items).toMatchObject([
    { epoch: 4, kind: 'scale', sequence: null, outcome: 'active', digest: one },
    { epoch: 3, kind: 'rollback', sequence: 3, requested_by: 'tester', subject: 'one' },
  ])
  expect(
    (await index.history('hello/dev', { limit: 9, cursor: dev.next ?? '' })).items,
  ).toMatchObject([{ epoch: 2 }, { epoch: 1 }])
  expect((await index.history('hello/test', { limit: 9 })).items).toMatchObject([
    { epoch: 3, outcome: 'open', ended_at: null },
    { epoch: 2, outcome: 'failed', failure_message: 'not ready' },
    { epoch: 1, outcome: 'active' },
  ])
  expect((await index.keys('hello/dev', { limit: 9 })).items.map((row) => row.state)).toEqual([
    'active',
    'superseded',
    'superseded',
  ])
  const refused = await index.refusals({ environment: 'hello/prod' }, { limit: 1 })
  expect(refused.items).toMatchObject([{ change: 'c2', rule: 'not-proved' }])
  expect((await index.refusals({}, { limit: 9 })).items).toHaveLength(3)
  await expect(index.history('hello/dev', { limit: 1, cursor: 'x' })).rejects.toMatchObject({
    code: 'invalid_input',
  })
})

test('has one owner, and is there again when opened again', async () => {
  const dir = empty()
  const log = history()
  const index = await openIndex({ dir, logger })
  await index.catchUp(source(log))
  const before = await dump(index)
  await expect(openIndex({ dir, logger })).rejects.toMatchObject({ code: 'already_running' })
  await index.close()
  const again = await open(dir)
  expect(await dump(again)).toBe(before)
})
