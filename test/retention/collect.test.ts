import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { collect, type CollectDependencies } from '../../src/retention/collect.ts'
import { readInventory } from '../../src/retention/inventory.ts'
import { planCollection, type RetentionRules } from '../../src/retention/plan.ts'
import type { AgingStore } from '../../src/store/blob-store.ts'
import { openFolderStore } from '../../src/store/folder-store.ts'
import { doomedForMs, holdingStore } from '../../src/store/held-store.ts'
import { openS3Store } from '../../src/store/s3-store.ts'
import { digestFor, hash } from '../helpers/facts.ts'
import { memoryStore, type FaultPlan } from '../helpers/memory-store.ts'
import { startGateway, type Gateway } from '../helpers/s3-gateway.ts'
import { scratch } from '../helpers/store-scratch.ts'
import { day, keysIn, now, World } from './world.ts'

const prod = 'one/prod' as EnvironmentName
const rules: RetentionRules = { good: 1, since: now - 30 * day, always: [] }

/** Five artifacts of one app were active one after the other: e serves and would return to d. */
async function fiveArtifacts(store: AgingStore): Promise<World> {
  const world = new World(store)
  await world.template('lock 1')
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    const layers = ['shared layer', `layer of ${name}`]
    world.log.promote(prod, await world.seal({ name, app: 'one', layers, lock: 'lock 1' }))
  }
  await world.blob('what a build left')
  await store.put('cache/facts-v1/x', Buffer.from('facts'))
  await store.put('cache/dependencies/x', Buffer.from(`${digestFor('modules')}\n`))
  await world.blob('modules')
  return world
}

const gone = ['a', 'b', 'c']
const kept = ['d', 'e']

async function gc(
  world: World,
  part: Partial<CollectDependencies> & { rules?: RetentionRules } = {},
) {
  const store = part.store ?? world.store
  const own = part.rules ?? rules
  const ledger = async () => world.log.ledger
  const inventory = await readInventory(store)
  const plan = planCollection(await ledger(), inventory, own)
  const deps = {
    store,
    ledger,
    owner: 'o',
    run: 'r',
    clock: () => 0,
    crashPoint: () => {},
    ...part,
  }
  return { plan, ...(await collect(deps, plan, { inventory, rules: own })) }
}

const markerOf = (name: string) => `repositories/one/${hash(name)}`
const blobOf = (name: string) => `blobs/sha256/${hash(name)}`

async function expectCollected(store: AgingStore): Promise<void> {
  const keys = await keysIn(store)
  for (const name of gone) {
    expect(keys).toContain(`collected/${hash(name)}`)
    for (const key of [
      markerOf(name),
      blobOf(name),
      blobOf(`layer of ${name}`),
      blobOf(`f${name}`),
    ])
      expect([...keys]).not.toContain(key)
    // What keys are judged by stays.
    expect(keys).toContain(blobOf(`k${name}`))
  }
  for (const name of kept) {
    const own = [`layer of ${name}`, `f${name}`, `sbom of ${name}`, `content of sbom of ${name}`]
    for (const key of [name, 'shared layer', `config of ${name}`, ...own])
      expect(keys).toContain(blobOf(key))
    expect(keys).toContain(markerOf(name))
  }
  for (const key of [
    'base lock 1',
    'layer of base lock 1',
    'package 1 of lock 1',
    'definition prod',
  ])
    expect(keys).toContain(blobOf(key))
  for (const key of [blobOf('what a build left'), blobOf('modules'), 'cache/facts-v1/x'])
    expect([...keys]).not.toContain(key)
  expect([...keys].filter((key) => key.startsWith('gc/'))).toEqual([])
}

const old = () => memoryStore(undefined, () => now - 100 * day)

test('collects what nothing returns to, keeps what is leased and all that it stands on', async () => {
  const { store } = old()
  const world = await fiveArtifacts(store)
  const { plan, removed } = await gc(world)
  expect(plan.artifacts.map(({ digest }) => digest)).toEqual(gone.map(digestFor))
  expect(plan.kept.artifacts).toEqual([
    { digest: digestFor('e'), app: 'one', reason: 'active', environment: prod },
    { digest: digestFor('d'), app: 'one', reason: 'rollback target', environment: prod },
  ])
  expect(removed).toHaveLength(plan.objects.length)
  await expectCollected(store)
  const again = await gc(world)
  expect(again.plan.objects).toEqual([])
})

test('the log, its tiles and bundles, and what is said of templates, are in no plan however old they are', async () => {
  const { store, objects } = old()
  const world = await fiveArtifacts(store)
  const log = ['tile/0/000', 'tile/entries/000', 'bundles/leaf/x', 'bundles/decision/x']
  for (const key of [
    ...log,
    'bundles/published/x',
    'staging/1-x/0',
    'requests/1',
    'templates/inputs/x',
  ])
    await store.put(key, Buffer.from(key))
  const before = [...objects.keys()].filter(
    (key) => !/^(blobs|cache|referrers|repositories)\//.test(key),
  )
  await gc(world)
  for (const key of before) expect(objects.has(key)).toBe(true)
})

test('nothing goes while a kept artifact is not whole: what it stands on is not known', async () => {
  const { store, objects } = old()
  const world = await fiveArtifacts(store)
  objects.delete(blobOf('d'))
  const before = new Set(objects.keys())
  await expect(gc(world)).rejects.toMatchObject({
    code: 'ledger_corrupt',
    place: digestFor('d'),
    message: expect.stringContaining('its manifest is missing'),
  })
  expect(new Set(objects.keys())).toEqual(before)
})

test('nothing that was touched since a build that runs began', async () => {
  const { store, touched } = old()
  const world = await fiveArtifacts(store)
  touched.set(blobOf('what a build left'), now - 60 * day)
  touched.set(markerOf('a'), now - 60 * day)
  await gc(world, { rules: { ...rules, since: now - 70 * day } })
  const keys = await keysIn(store)
  for (const key of [blobOf('what a build left'), markerOf('a'), blobOf('a'), blobOf('layer of a')])
    expect(keys).toContain(key)
  expect([...keys]).not.toContain(markerOf('b'))
})

test('killed after each of its writes, and its removals lost or landed, the next run ends the same', async () => {
  for (const fault of ['lost', 'landed'] as const) {
    for (let at = 0; ; at += 1) {
      let left = Infinity
      // Of what a process does when it is killed only the last call may have landed.
      const plan: FaultPlan = () => {
        left -= 1
        if (left >= 0) return undefined
        return left === -1 ? fault : 'lost'
      }
      const { store } = memoryStore(plan, () => now - 100 * day)
      const world = await fiveArtifacts(store)
      left = at
      const ended = await gc(world, { run: 'first' }).then(
        () => true,
        () => false,
      )
      left = Infinity
      // Kept artifacts are whole at every point.
      const keys = await keysIn(store)
      for (const name of kept) expect(keys).toContain(blobOf(`layer of ${name}`))
      // No artifact that can be found lacks anything, and what cannot is said to be collected.
      const found = gone.filter((name) => keys.has(markerOf(name)))
      const parts = found.flatMap((name) => [name, `layer of ${name}`, 'shared layer'])
      expect(parts.filter((part) => !keys.has(blobOf(part)))).toEqual([])
      const others = gone.filter((name) => !found.includes(name))
      expect(others.filter((name) => !keys.has(`collected/${hash(name)}`))).toEqual([])
      await gc(world, { run: 'second' })
      await expectCollected(store)
      if (ended) break
      expect(at).toBeLessThan(200)
    }
  }
})

/** A store that lets somebody else act before the first object with such a key is put. */
function actingBefore(store: AgingStore, key: string, act: () => Promise<unknown>): AgingStore {
  let done = false
  const once = async (): Promise<void> => {
    if (done) return
    done = true
    await act()
  }
  return {
    ...store,
    async put(name, bytes) {
      if (name.startsWith(key)) await once()
      await store.put(name, bytes)
    },
  }
}

/** All that is there now was written before; what is renewed or written from here on is young. */
const later = (): RetentionRules => ({ ...rules, since: Date.now() + 2000 })

describe('at the same time', () => {
  test('what is promoted between the plan and the removal stays, with all its content', async () => {
    const { store } = old()
    const world = await fiveArtifacts(store)
    const racing = actingBefore(store, 'gc/doomed/', async () => {
      world.log.change(prod, digestFor('a'))
    })
    const { spared } = await gc(world, { store: racing })
    expect(spared).toBeGreaterThan(3)
    const keys = await keysIn(store)
    for (const key of [markerOf('a'), blobOf('a'), blobOf('layer of a')])
      expect(keys).toContain(key)
    expect([...keys]).not.toContain(markerOf('b'))
  })

  test('what a build takes for there between the plan and the removal stays', async () => {
    const memory = old()
    const world = await fiveArtifacts(memory.store)
    const held = holdingStore({
      ...memory.store,
      renew: async (key) => {
        const there = await memory.store.renew(key)
        memory.touched.set(key, now)
        return there
      },
    })
    const racing = actingBefore(memory.store, 'gc/doomed/', async () => {
      expect(await held.size(blobOf('modules'))).toBeGreaterThan(0)
      await held.put(markerOf('b'), Buffer.from(`${digestFor('b')}\n`))
      expect(await held.hold(markerOf('c'))).toBe(true)
    })
    await gc(world, { store: racing })
    const keys = await keysIn(memory.store)
    for (const name of ['modules', 'b', 'layer of b', 'content of sbom of b', 'c', 'layer of c'])
      expect(keys).toContain(blobOf(name))
    expect([...keys]).not.toContain(blobOf('a'))
  })

  test('who comes while a batch is being removed waits for its end, and hears what is gone', async () => {
    const memory = old()
    const world = await fiveArtifacts(memory.store)
    const held = holdingStore(memory.store, { pollMs: 1, deadAfterMs: 60_000, clock: () => 0 })
    const answers: Promise<boolean>[] = []
    const late: AgingStore = {
      ...memory.store,
      async remove(key) {
        // The last look is over: what is asked for now may be gone in a moment.
        if (answers.length === 0) answers.push(held.hold(blobOf('layer of a')))
        await memory.store.remove(key)
      },
    }
    await gc(world, { store: late })
    expect(await Promise.all(answers)).toEqual([false])
    await expectCollected(memory.store)
  })

  test('a build that stores what is being removed stores it again or fails to be tried again', async () => {
    const memory = old()
    const world = await fiveArtifacts(memory.store)
    const held = holdingStore(memory.store, { pollMs: 1, deadAfterMs: 60_000, clock: () => 0 })
    const content = Buffer.from(JSON.stringify('layer of a'))
    const attempts: Promise<unknown>[] = []
    const late: AgingStore = {
      ...memory.store,
      async remove(key) {
        if (attempts.length === 0) attempts.push(held.put(blobOf('layer of a'), content))
        await memory.store.remove(key)
      },
    }
    await gc(world, { store: late })
    await expect(attempts[0]).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    await held.put(blobOf('layer of a'), content)
    expect(memory.objects.has(blobOf('layer of a'))).toBe(true)
  })

  test('two runs, one of which stands still after its last look, lose nothing that was written meanwhile', async () => {
    const memory = memoryStore(undefined, () => clock)
    let clock = now - 100 * day
    const world = await fiveArtifacts(memory.store)
    const held = holdingStore(memory.store, { pollMs: 1, deadAfterMs: 60_000, clock: () => 0 })
    const content = Buffer.from(JSON.stringify('layer of a'))
    let written: Promise<unknown> | undefined
    const slow: AgingStore = {
      ...memory.store,
      async remove(key) {
        if (key === blobOf('layer of a') && written === undefined) {
          // The other run removes it, and somebody stores it again, before this one goes on.
          await gc(world, { run: 'quick', owner: 'other' })
          clock = now
          written = held.put(key, content).catch(() => held.put(key, content))
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        await memory.store.remove(key)
      },
    }
    await gc(world, { store: slow, run: 'slow' })
    await written
    expect(memory.objects.has(blobOf('layer of a'))).toBe(true)
  })

  test('a run that stood still for too long removes nothing more of its batch', async () => {
    const { store } = old()
    const world = await fiveArtifacts(store)
    let clock = 0
    const { removed, spared } = await gc(world, {
      clock: () => clock,
      store: {
        ...store,
        async remove(key) {
          await store.remove(key)
          clock = doomedForMs + 1
        },
      },
    })
    expect(removed.length).toBeLessThan(9)
    expect(spared).toBeGreaterThan(0)
  })

  test('what a dead run announced keeps nobody for longer than a minute, and once', async () => {
    const { store } = old()
    await store.put('gc/doomed/o.dead.0', Buffer.from('x\n'))
    await store.put(blobOf('x'), Buffer.from('x'))
    let clock = 0
    const timing = { pollMs: 1, deadAfterMs: 60_000, clock: () => (clock += 10_000) }
    const held = holdingStore(store, timing)
    expect(await held.hold(blobOf('x'))).toBe(true)
    const waited = clock
    await store.put(blobOf('y'), Buffer.from('y'))
    expect(await held.hold(blobOf('y'))).toBe(true)
    expect(clock - waited).toBeLessThan(60_000)
    expect(waited).toBeGreaterThan(60_000)
  })
})

describe('on real parts', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => gateway.stop())

  test('a folder: killed in the middle, then to its end', async () => {
    const root = scratch()
    const store = openFolderStore({ root })
    const world = await fiveArtifacts(store)
    let left = 5
    const dying: AgingStore = {
      ...store,
      async remove(key) {
        left -= 1
        if (left < 0) throw new Error('killed')
        await store.remove(key)
      },
    }
    await expect(gc(world, { store: dying, rules: later() })).rejects.toThrow('killed')
    await gc(world, { rules: later() })
    await expectCollected(store)
  })

  test('a folder: ages are those of the files, and what is held is young', async () => {
    const root = scratch()
    const store = openFolderStore({ root })
    const world = await fiveArtifacts(store)
    const before = new Date(Date.now() - 40 * day)
    for (const key of await keysIn(store)) utimesSync(join(root, key), before, before)
    expect(await holdingStore(store).hold(markerOf('a'))).toBe(true)
    const since = Date.now() - 30 * day
    await gc(world, { rules: { ...rules, since } })
    const keys = await keysIn(store)
    for (const key of [markerOf('a'), blobOf('layer of a')]) expect(keys).toContain(key)
    expect([...keys]).not.toContain(markerOf('b'))
  })

  test('S3: the same, and what was renewed stays', async () => {
    const store = openS3Store(gateway.settings())
    const world = await fiveArtifacts(store)
    const cut = Math.max(...(await agesOf(store))) + 1
    // S3 tells time in seconds: what is renewed in the same one would not be younger.
    for (let at = 0, time = 0; time < cut; at += 1) {
      await store.put(`probe/${at}`, Buffer.from('x'))
      time = (await store.touchedAt(`probe/${at}`)) ?? 0
    }
    expect(await holdingStore(store).hold(blobOf('modules'))).toBe(true)
    await gc(world, { rules: { ...rules, since: cut } })
    expect(await store.size(blobOf('modules'))).toBeGreaterThan(0)
    await gc(world, { rules: later() })
    await expectCollected(store)
  })
})

async function agesOf(store: AgingStore): Promise<number[]> {
  const ages: number[] = []
  for (const prefix of ['repositories/', 'referrers/', 'cache/', 'blobs/']) {
    for await (const { touchedAt } of store.entries(prefix)) ages.push(touchedAt)
  }
  return ages
}
