import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Ledger } from '../../src/domain/ledger.ts'
import { leafHash } from '../../signing/merkle.ts'
import type { Fact } from '../../src/domain/statement.ts'
import { openIndex, type IndexSource, type LedgerIndex } from '../../src/ledger/index-database.ts'
import type { IndexPlace } from '../../src/ledger/index-place.ts'
import { emptyTree } from '../../src/ledger/tree.ts'
import { FactLog } from '../helpers/facts.ts'
import { ownPostgres, type OwnPostgres } from '../helpers/own-postgres.ts'
import { scratch } from '../helpers/store-scratch.ts'

const logger = pino({ level: 'silent' })

/** An empty index; making one takes seconds, copying it does not. */
const made = mkdtempSync(join(tmpdir(), 'kiln-index-'))
let postgres: OwnPostgres

beforeAll(async () => {
  const index = await openIndex({ place: { kind: 'pglite', dir: made }, logger })
  await index.close()
  postgres = await ownPostgres()
}, 60_000)
afterAll(async () => {
  rmSync(made, { recursive: true })
  await postgres.remove()
})

const places: Record<string, () => Promise<IndexPlace>> = {
  async PGlite() {
    const dir = scratch()
    cpSync(made, dir, { recursive: true })
    return { kind: 'pglite', dir }
  },
  PostgreSQL: () => postgres.database(),
}

async function open(place: IndexPlace): Promise<LedgerIndex> {
  const index = await openIndex({ place, logger })
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
  const tree = emptyTree()
  tree.grow(facts.map(({ leaf }) => leafHash(Buffer.from(leaf))))
  return {
    refresh: async () => ledger,
    facts: (from = 0) => facts.filter((fact) => fact.index >= from),
    rootAt: (at) => (at > size ? null : Buffer.from(tree.root(at)).toString('hex')),
  }
}

async function dump(index: LedgerIndex): Promise<string> {
  const lines: string[] = []
  for await (const line of index.dump()) lines.push(line)
  return lines.join('')
}

/** What is not of the ledger. */
const delivery = {
  forge: 'github',
  delivery: 'd1',
  event: 'push',
  body: 'f'.repeat(64),
  repository: null,
  branch: null,
  commit: null,
  result: 'ignored',
  message: 'not watched',
  received_at: '2026-01-01T00:00:00.000Z',
}

describe.each(Object.entries(places))('on %s', (_name, empty) => {
  test('folding step by step, at once, and anew gives the same rows byte for byte', async () => {
    const log = history()
    const index = await open(await empty())
    for (let size = 1; size <= log.facts.length; size += 3) await index.catchUp(source(log, size))
    expect(await index.catchUp(source(log))).toBe(log.facts.length)
    const before = await dump(index)
    expect(before.match(/^facts /gm)).toHaveLength(log.facts.length)
    expect(before).toContain('"void":true')
    await index.take(delivery, '')

    const remade = await index.reindex(source(log))
    expect(await dump(index)).toBe(before)
    expect(remade).toEqual({
      entries: log.facts.length,
      digest: `sha256:${createHash('sha256').update(before).digest('hex')}`,
    })
    expect(await index.deliveries(10)).toMatchObject([{ delivery: 'd1', message: 'not watched' }])

    const other = await open(await empty())
    await other.catchUp(source(log))
    expect(await dump(other)).toBe(before)
  })

  test('an index that outlived its log is made anew from the one that is there', async () => {
    const log = history()
    const lost = log.facts.length - 4
    const other = new FactLog()
    for (let n = 0; n <= log.facts.length; n += 1) other.seal(`${n}`)
    const index = await open(await empty())
    await index.catchUp(source(log))
    await index.take(delivery, '')
    // Put back to an earlier day; then as long as before, with other entries; then another altogether.
    const again = history()
    again.facts.length = lost
    again.seal('after the restore')
    for (const now of [source(log, lost), source(again), source(other)]) {
      const { size } = await now.refresh()
      expect(await index.catchUp(now)).toBe(size)
      const hash = createHash('sha256').update(await dump(index))
      expect(await index.reindex(now)).toEqual({
        entries: size,
        digest: `sha256:${hash.digest('hex')}`,
      })
    }
    expect(await index.deliveries(10)).toMatchObject([{ delivery: 'd1' }])
  })

  test('answers what the API asks', async () => {
    const log = history()
    const index = await open(await empty())
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
})

test('has one owner, and is there again when opened again', async () => {
  const place = await places['PGlite']!()
  const log = history()
  const index = await openIndex({ place, logger })
  await index.catchUp(source(log))
  const before = await dump(index)
  await expect(openIndex({ place, logger })).rejects.toMatchObject({ code: 'already_running' })
  await index.close()
  const again = await open(place)
  expect(await dump(again)).toBe(before)
})

test('both say the same, whatever their databases take for an order', async () => {
  const log = history()
  for (const app of ['Zebra', 'apple', 'ähre', 'a-b', 'ab']) log.seal('one', app, ['live'])
  for (const name of ['b-1/x', 'B1/x', 'b1/x', 'a/z'] as const) {
    log.promote(name, [...log.ledger.sealed.keys()][0]!)
  }
  const dumps: string[] = []
  for (const empty of Object.values(places)) {
    const index = await open(await empty())
    await index.catchUp(source(log))
    dumps.push(await dump(index))
  }
  expect(dumps[0]).toContain('b-1/x')
  expect(dumps[1]).toBe(dumps[0])
})

test('two servers fold into one database while it is made anew again and again', async () => {
  const place = await postgres.database()
  const log = history()
  const [one, two] = [await open(place), await open(place)]
  // What one server read, the log has for the other as well.
  let size = 1
  const growing: IndexSource = {
    refresh: () => source(log, size).refresh(),
    facts: (from) => source(log, size).facts(from),
    rootAt: (at) => source(log, size).rootAt(at),
  }
  const folding = [one, two].map(async (index) => {
    while ((await index.catchUp(growing)) < log.facts.length) {
      size = Math.min(size + 1, log.facts.length)
    }
  })
  // Folded step by step, which gives the rows that folding at once does (above).
  const alone = await open(await places['PGlite']!())
  const remaking = (async () => {
    while (size < log.facts.length) {
      const { entries, digest } = await two.reindex(growing)
      await alone.catchUp(source(log, entries))
      const hash = createHash('sha256').update(await dump(alone))
      expect(digest).toBe(`sha256:${hash.digest('hex')}`)
    }
  })()
  await Promise.all([...folding, remaking])
  await alone.catchUp(source(log))
  expect(await dump(one)).toBe(await dump(alone))
})

test('a server that ends in the middle is told as such, loses nothing, and is used again', async () => {
  const place = await postgres.database()
  const log = history()
  const index = await open(place)
  await index.catchUp(source(log, 5))
  const half: IndexSource = {
    refresh: source(log).refresh,
    facts(from) {
      cut = postgres.kill()
      return source(log).facts(from)
    },
    rootAt: source(log).rootAt,
  }
  let cut: Promise<void> | undefined
  await expect(index.catchUp(half)).rejects.toMatchObject({
    code: 'store_unavailable',
    place: `KILN_INDEX=${place.address}`,
  })
  await cut
  await expect(index.history('hello/dev', { limit: 1 })).rejects.toMatchObject({
    code: 'store_unavailable',
    retryable: true,
  })
  await postgres.start()
  expect(await index.catchUp(source(log))).toBe(log.facts.length)
  const alone = await open(await places['PGlite']!())
  await alone.catchUp(source(log))
  expect(await dump(index)).toBe(await dump(alone))
})

test('a wrong password and a missing database name the setting, never the password', async () => {
  const place = await postgres.database()
  const wrong = join(scratch(), 'wrong')
  writeFileSync(wrong, 'hunter2-wrong\n', { mode: 0o600 })
  const faults: IndexPlace[] = [
    { ...place, passwordFile: wrong },
    { ...place, passwordFile: undefined },
    { ...place, address: place.address.replace(/kiln\d+$/, 'none') },
  ]
  for (const fault of faults) {
    const error = await openIndex({ place: fault, logger }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'prerequisite_missing' })
    expect(inspect(error, { depth: 9 })).not.toContain('hunter2')
    expect((error as { place: string }).place).toContain('KILN_INDEX=postgres://kiln@')
  }
})
