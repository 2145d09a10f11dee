import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { EnvironmentName } from '../../src/domain/name.ts'
import { environmentOf } from '../../src/domain/ledger.ts'
import { collect } from '../../src/retention/collect.ts'
import { readInventory } from '../../src/retention/inventory.ts'
import { planCollection } from '../../src/retention/plan.ts'
import { digestFor } from '../helpers/facts.ts'
import { memoryStore, type MemoryStore } from '../helpers/memory-store.ts'
import { needed } from './naive.ts'
import { day, now, World } from './world.ts'

type Step =
  | { do: 'seal'; app: string; layer: number; lock: number; young: boolean }
  | {
      do: 'change'
      environment: string
      artifact: number
      end: 'active' | 'failed' | 'key' | 'open'
    }
  | { do: 'deny'; artifact: number }

const apps = ['one', 'two'] as const
const small = fc.nat({ max: 7 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('seal' as const),
    app: fc.constantFrom(...apps),
    layer: fc.nat({ max: 3 }),
    lock: fc.integer({ min: 1, max: 3 }),
    young: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('change' as const),
    environment: fc.constantFrom('dev', 'test', 'prod'),
    artifact: small,
    end: fc.constantFrom('active', 'active', 'active', 'failed', 'key', 'open'),
  }),
  fc.record({ do: fc.constant('deny' as const), artifact: small }),
)

/** Only changes that the environment's chain allows: what is open stays open. */
function change(world: World, made: readonly { name: string; app: string }[], one: Step): void {
  if (one.do !== 'change') return
  const artifact = made[one.artifact % Math.max(1, made.length)]
  if (artifact === undefined) return
  const environment: EnvironmentName = `${artifact.app}/${one.environment}`
  if (environmentOf(world.log.ledger, environment).open !== null) return
  const digest = digestFor(artifact.name)
  world.log.change(environment, digest)
  if (one.end !== 'open') world.log.key(environment, digest)
  if (one.end === 'active' || one.end === 'failed') world.log.outcome(environment, one.end)
}

async function play(memory: MemoryStore, steps: readonly Step[]): Promise<World> {
  const world = new World(memory.store)
  for (const lock of [1, 2, 3]) await world.template(`lock ${lock}`)
  const made: { name: string; app: string }[] = []
  for (const [at, one] of steps.entries()) {
    if (one.do === 'seal') {
      const artifact = { name: `a${at}`, app: one.app }
      world.log.time = one.young ? '2026-05-30T00:00:00Z' : '2026-01-01T00:00:00Z'
      const layers = [`layer ${one.layer}`, `own layer of ${artifact.name}`]
      await world.seal({ ...artifact, layers, lock: `lock ${one.lock}` })
      made.push(artifact)
    } else if (one.do === 'change') change(world, made, one)
    else if (made.length > 0) {
      const denied = digestFor(made[one.artifact % made.length]?.name ?? '')
      const body = { reason: 'test', requestedBy: 'ana' }
      world.log.add({ kind: 'denial', artifact: denied, body })
    }
  }
  return world
}

test('nothing that an independent check reaches is ever collected, and what nothing reaches goes', async () => {
  let collected = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 24 }),
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.nat({ max: 400 }), { maxLength: 3 }),
      async (steps, good, touched) => {
        const memory = memoryStore(undefined, () => now - 100 * day)
        const { log } = await play(memory, steps)
        const keys = [...memory.objects.keys()]
        const used = touched.flatMap((at) => keys[at % keys.length] ?? [])
        for (const key of used) memory.touched.set(key, now - day)
        const before = new Map(memory.objects)
        const since = now - 30 * day
        const rules = { good, since, always: [digestFor('lock 2')] }
        const must = needed(
          { facts: log.facts, objects: before },
          { good, sealedSince: new Date(since).toISOString(), locks: ['lock 2'] },
        )
        const inventory = await readInventory(memory.store)
        const plan = planCollection(log.ledger, inventory, rules)
        const ledger = async () => log.ledger
        const own = { owner: 'o', run: 'r', clock: () => 0, crashPoint: () => {} }
        const deps = { store: memory.store, ledger, ...own }
        const { removed } = await collect(deps, plan, { inventory, rules })
        for (const key of [...must, ...used])
          expect([key, memory.objects.has(key)]).toEqual([key, true])
        // An artifact that nothing needs, where nothing was used lately, is gone.
        const markers = log.facts.flatMap((fact) =>
          fact.kind === 'sealed'
            ? [`repositories/${fact.body.app}/${fact.artifact?.slice(7)}`]
            : [],
        )
        const unneeded = used.length > 0 ? [] : markers.filter((key) => !must.has(key))
        expect(unneeded.filter((key) => memory.objects.has(key))).toEqual([])
        collected += removed.length
      },
    ),
    { numRuns: 120 },
  )
  // The property is about something.
  expect(collected).toBeGreaterThan(500)
}, 60_000)
