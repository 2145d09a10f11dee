import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { hexOf } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'
import { deliveryId } from '../../src/main/operation-ids.ts'
import { collectedKey } from '../../src/store/collected.ts'
import type { WatchInput, WatchState } from '../../workflows/watch-repository.ts'
import { commitNamed } from './fake-builder.ts'
import {
  kilnInMemory,
  person,
  testTemporal,
  until,
  type KilnInMemory,
  type TestTemporal,
} from './kiln-in-memory.ts'

let temporal: TestTemporal
let kiln: KilnInMemory

beforeAll(async () => {
  temporal = await testTemporal()
  kiln = await kilnInMemory(temporal)
})
afterAll(async () => {
  await kiln.close()
  await temporal.close()
})
beforeEach(() => {
  kiln.stage.clear()
  kiln.builder.noise = ''
})

const stranger = { name: '', kind: 'token' } as const

/** Starts a delivery of the commit and gives its id. */
async function start(name: string, principal: { name: string; kind: 'token' } = person) {
  const commit = commitNamed(name)
  const id = deliveryId(kiln.repository, commit, '')
  const requestedAt = new Date().toISOString()
  const { repository } = kiln
  await kiln.engine.startDelivery({
    id,
    repository,
    revision: commit,
    useCache: true,
    principal,
    requestedAt,
  })
  return id
}

async function ended(id: string): Promise<Operation> {
  return until(`${id} ends`, async () => {
    const operation = await kiln.engine.progress(id)
    return operation !== null && hasEnded(operation) ? operation : undefined
  })
}

async function newKinds(since: number): Promise<string[]> {
  return (await kiln.kinds()).slice(since)
}

test('a commit is sealed, and its first environment asked for it', async () => {
  const digest = await kiln.deliver('one')
  expect((await kiln.state(kiln.dev)).active?.body.digest).toBe(digest)
  expect(await kiln.kinds()).toEqual([
    'sbom',
    'provenance',
    'sealed',
    'change',
    'key',
    'activation',
  ])
})

test('the same commit announced again, while it is built and afterwards, is one build', async () => {
  const before = (await kiln.kinds()).length
  const held = kiln.stage.hold('buildImage')
  const ids = [await start('two')]
  await held.reached
  ids.push(await start('two'))
  held.release()
  await ended(ids[0]!)
  ids.push(await start('two'))
  expect(new Set(ids).size).toBe(1)
  const { change } = (await ended(ids[0]!)).result
  await kiln.ended(kiln.dev, String(change))
  expect(kiln.stage.callsOf('buildImage')).toHaveLength(2) // of `one`, and of `two`
  expect(await newKinds(before)).toEqual([
    'sbom',
    'provenance',
    'sealed',
    'change',
    'key',
    'activation',
  ])
})

test('another name for a commit that is sealed builds nothing, and takes no environment back', async () => {
  const before = (await kiln.kinds()).length
  const id = deliveryId(kiln.repository, 'main', 'asked')
  kiln.stage.before('resolveSource', (input: { revision: string }) => {
    input.revision = commitNamed('one')
  })
  await kiln.engine.startDelivery({
    id,
    repository: kiln.repository,
    revision: 'main',
    useCache: true,
    principal: person,
    requestedAt: new Date().toISOString(),
  })
  expect(await ended(id)).toMatchObject({ state: 'unchanged', result: { change: null } })
  expect(await newKinds(before)).toEqual([])
})

test('a build that fails by its own fault is on record as rejected, with its last lines', async () => {
  const before = (await kiln.kinds()).length
  kiln.stage.before('buildImage', () => {
    throw new KilnError('build_failed', 'RUN ended with exit code 3', {
      place: 'Dockerfile:4 RUN',
      lines: ['boom'],
    })
  })
  const id = await start('broken')
  expect(await ended(id)).toMatchObject({
    state: 'failed',
    failure: { code: 'build_failed', place: 'Dockerfile:4 RUN', lines: ['boom'] },
  })
  expect(await newKinds(before)).toEqual(['rejected'])
  // A commit that failed may be tried again, and is the same delivery.
  kiln.stage.clear()
  expect(await start('broken')).toBe(id)
  const again = await until('it went well', async () => {
    const operation = await kiln.engine.progress(id)
    return operation?.state === 'succeeded' ? operation : undefined
  })
  await kiln.ended(kiln.dev, String(again.result['change']))
})

test('a signature that does not read back seals nothing', async () => {
  const before = (await kiln.kinds()).length
  kiln.stage.before('sealArtifact', () => {
    throw new KilnError('verification_failed', 'the provenance does not read back')
  })
  const operation = await ended(await start('unread'))
  expect(operation).toMatchObject({ state: 'failed', failure: { code: 'verification_failed' } })
  expect(await newKinds(before)).toEqual(['sbom', 'provenance', 'rejected'])
})

test('an outage in the middle of a build is waited for, and condemns nothing', async () => {
  const before = (await kiln.kinds()).length
  let outages = 0
  kiln.stage.before('buildImage', () => {
    outages += 1
    if (outages <= 3) throw new KilnError('docker_unavailable', 'the engine is away')
  })
  const id = await start('three')
  expect((await ended(id)).state).toBe('succeeded')
  expect(outages).toBe(4)
  expect((await newKinds(before)).slice(0, 3)).toEqual(['sbom', 'provenance', 'sealed'])
  await kiln.ended(kiln.dev, String((await ended(id)).result['change']))
})

test('who may not build is refused before anything is read', async () => {
  const sources = kiln.stage.callsOf('resolveSource').length
  const operation = await ended(await start('four', stranger))
  expect(operation).toMatchObject({ state: 'failed', failure: { code: 'forbidden' } })
  expect(kiln.stage.callsOf('resolveSource')).toHaveLength(sources)
})

async function rebuild(digest: string, tail: string): Promise<Operation> {
  const id = `rebuild.${tail.padStart(16, '0')}`
  await kiln.engine.startRebuild({
    id,
    digest: digest as never,
    principal: person,
    requestedAt: new Date().toISOString(),
  })
  return ended(id)
}

test('a rebuild makes the artifact again from its record, without the cache, and logs nothing', async () => {
  const digest = await kiln.deliver('one')
  const before = (await kiln.kinds()).length
  expect(await rebuild(digest, '1')).toMatchObject({
    state: 'succeeded',
    result: { digest, same: true },
  })
  expect(kiln.stage.callsOf('buildImage').at(-1)).toMatchObject({ useCache: false })
  expect(await newKinds(before)).toEqual([])
})

async function keysBelow(prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const key of kiln.store.list(prefix)) keys.push(key)
  return keys.toSorted()
}

test('a rebuild of what was collected publishes it again, with all that was said of it', async () => {
  const digest = await kiln.deliver('collected')
  const hex = hexOf(digest)
  const own = async () => [
    ...(await keysBelow('repositories/')).filter((key) => key.endsWith(hex)),
    ...(await keysBelow(`referrers/${hex}/`)),
  ]
  const whole = await own()
  // The artifact; SBOM, per-file manifest, and the bundles of provenance, SBOM and key.
  expect(whole).toHaveLength(1 + 5)
  await kiln.store.put(collectedKey(digest), Buffer.from('x'))
  const gone = [...whole, ...whole.map((key) => `blobs/sha256/${key.split('/').at(-1)}`)]
  for (const key of gone) await kiln.store.remove(key)
  const back = await kiln.ask(kiln.dev, { kind: 'promotion', digest, automatic: false })
  expect(await kiln.ended(kiln.dev, back)).toMatchObject({ state: 'unchanged' })
  const onwards = await kiln.ask(kiln.test, { kind: 'promotion', digest, automatic: false })
  expect(await kiln.ended(kiln.test, onwards)).toMatchObject({
    state: 'refused',
    failure: { place: 'collected', fix: expect.stringContaining(`kiln rebuild ${digest}`) },
  })
  expect(await rebuild(digest, '4')).toMatchObject({ state: 'succeeded', result: { same: true } })
  expect(await own()).toEqual(whole)
  for (const key of gone) expect(await kiln.store.size(key)).toBeGreaterThan(0)
  const again = await kiln.ask(kiln.test, { kind: 'promotion', digest, automatic: false })
  expect(await kiln.ended(kiln.test, again)).toMatchObject({ state: 'succeeded' })
})

test('a rebuild that differs fails and names the files', async () => {
  const digest = await kiln.deliver('one')
  kiln.builder.noise = 'the clock'
  expect(await rebuild(digest, '2')).toMatchObject({
    state: 'failed',
    failure: { code: 'not_reproducible', lines: ['app/clock.txt'] },
  })
})

test('a watch delivers each head once, an older one before a newer one, and outlives what fails', async () => {
  const { client, repository } = kiln
  const handle = await client.workflow.start('watchRepository', {
    workflowId: `watch.${repository}`,
    taskQueue: 'control',
    args: [
      {
        repository,
        branches: ['main'],
        everyMs: 50,
        principal: person,
        since: new Date().toISOString(),
      } satisfies WatchInput,
    ],
  })
  const state = () => handle.query<WatchState>('watch')
  const seen = (commit: string) =>
    until(`${commit} is delivered`, async () =>
      (await state()).heads['main'] === commit ? true : undefined,
    )
  const deliveries = () =>
    kiln.stage.callsOf('runDelivery').map((call) => (call as { commit: string }).commit)
  const heads = [commitNamed('w1'), commitNamed('w2'), commitNamed('w3')] as const

  kiln.builder.heads = { main: heads[0], other: commitNamed('other') }
  await seen(heads[0])
  // An outage would be tried again by itself; what can never succeed is told.
  kiln.stage.before('readHeads', () => {
    throw new KilnError('invalid_repository', 'gone')
  })
  await until('the fault is shown', async () =>
    (await state()).lastError?.code === 'invalid_repository' ? true : undefined,
  )
  kiln.stage.clear()
  kiln.stage.before('buildImage', () => {
    throw new KilnError('build_failed', 'it never builds')
  })
  kiln.builder.heads = { main: heads[1] }
  await seen(heads[1])
  kiln.stage.clear()
  kiln.builder.heads = { main: heads[2] }
  await seen(heads[2])
  expect((await state()).lastError).toBe(null)
  expect(deliveries()).toEqual([...heads])
  await handle.signal('stop')
  await handle.result()
})
