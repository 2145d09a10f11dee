import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { KilnError } from '../../src/domain/error.ts'
import { hasEnded } from '../../src/domain/operation.ts'
import { deliveryId } from '../../src/main/operation-ids.ts'
import type { WatchHint, WatchInput, WatchState } from '../../workflows/watch-repository.ts'
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
  kiln.forge.settled = []
  kiln.forge.statuses = []
  kiln.forge.outcome = { written: true, detail: 'shown' }
  kiln.forge.place = {
    forge: 'github',
    api: 'https://api.github.com',
    path: 'acme/shop',
    tokenFile: '/etc/kiln/token',
  }
})

async function delivered(name: string) {
  const commit = commitNamed(name)
  const id = deliveryId(kiln.repository, commit, '')
  await kiln.engine.startDelivery({
    id,
    repository: kiln.repository,
    revision: commit,
    useCache: true,
    principal: person,
    requestedAt: new Date().toISOString(),
  })
  const operation = await until(`${id} ends`, async () => {
    const found = await kiln.engine.progress(id)
    return found !== null && hasEnded(found) ? found : undefined
  })
  await kiln.client.workflow
    .getHandle(id)
    .result()
    .catch(() => undefined)
  return { commit, operation }
}

const states = () => kiln.forge.statuses.map(({ state, context }) => `${context} ${state}`)

test('a delivery shows pending and then success at its commit', async () => {
  const { commit, operation } = await delivered('one')
  const context = `kiln/${String(operation.result['app'])}`
  expect(states()).toEqual([`${context} pending`, `${context} success`])
  expect(new Set(kiln.forge.statuses.map((status) => status.commit))).toEqual(new Set([commit]))
})

test('a build that fails by its own fault shows failure; one by ours shows error', async () => {
  kiln.stage.before('buildImage', () => {
    throw new KilnError('build_failed', 'RUN ended with exit code 3')
  })
  await delivered('broken')
  expect(states().at(-1)).toMatch(/ failure$/)
  expect(kiln.forge.statuses.at(-1)?.description).toBe('build_failed: RUN ended with exit code 3')
  kiln.stage.clear()
  kiln.stage.before('checkTemplate', () => {
    throw new KilnError('prerequisite_missing', 'no template')
  })
  await delivered('ours')
  expect(states().at(-1)).toMatch(/ error$/)
  kiln.stage.clear()
  kiln.stage.before('resolveSource', () => {
    throw new KilnError('invalid_yaml', 'unknown key', { place: 'kiln.yaml:6:11' })
  })
  await delivered('no kiln.yaml')
  expect(states().at(-1)).toBe('kiln failure')
})

test('nobody is asked twice where no status is wanted', async () => {
  kiln.forge.place = undefined
  const before = kiln.stage.callsOf('writeStatus').length
  expect((await delivered('quiet')).operation.state).toBe('succeeded')
  expect(kiln.stage.callsOf('writeStatus')).toHaveLength(before + 1)
  expect(kiln.forge.statuses).toEqual([])
})

test('a forge that refuses, and an activity that breaks, fail no delivery', async () => {
  kiln.forge.outcome = { written: false, detail: 'it answered 401' }
  expect((await delivered('refused by the forge')).operation.state).toBe('succeeded')
  kiln.stage.before('writeStatus', () => {
    throw new KilnError('prerequisite_missing', 'broken')
  })
  expect((await delivered('broken activity')).operation.state).toBe('succeeded')
})

test('a status whose worker died after writing it is written again, and the end is the same', async () => {
  let writes = 0
  kiln.stage.before('writeStatus', () => {
    writes += 1
    if (writes === 1) throw new KilnError('internal', 'the answer was lost')
  })
  expect((await delivered('lost answer')).operation.state).toBe('succeeded')
  expect(states().map((one) => one.split(' ')[1])).toEqual(['pending', 'success'])
  expect(writes).toBe(3)
})

test('announced commits: the head, an older one, one that is nowhere; only heads are built', async () => {
  const { client, repository } = kiln
  const [old, head, evil] = [commitNamed('h1'), commitNamed('h2'), commitNamed('evil')]
  kiln.builder.heads = { main: head }
  kiln.builder.reached = [old]
  const handle = await client.workflow.start('watchRepository', {
    workflowId: `watch.hints.${repository}`,
    taskQueue: 'control',
    args: [
      {
        repository,
        branches: ['main'],
        everyMs: 86_400_000,
        principal: person,
        since: new Date().toISOString(),
      } satisfies WatchInput,
    ],
  })
  const seen = (commit: string) =>
    until(`${commit} is delivered`, async () =>
      (await handle.query<WatchState>('watch')).heads['main'] === commit ? true : undefined,
    )
  await seen(head)
  const hint = async (delivery: string, commit: string) => {
    await handle.signal<[WatchHint]>('hint', { forge: 'github', delivery, branch: 'main', commit })
    return until(`${delivery} is settled`, async () =>
      kiln.forge.settled.find((one) => (one as { delivery: string }).delivery === delivery),
    )
  }
  const since = kiln.stage.callsOf('runDelivery').length
  expect(await hint('d-head', head)).toMatchObject({ result: 'looked' })
  expect(await hint('d-old', old)).toMatchObject({
    result: 'looked',
    message: expect.stringContaining('has moved on'),
  })
  expect(await hint('d-evil', evil)).toMatchObject({
    result: 'refused',
    message: `${evil} is not on main: nothing is built`,
  })
  expect(kiln.stage.callsOf('runDelivery')).toHaveLength(since)
  // Pushed, with no interval to wait for: the announcement alone makes it look.
  const next = commitNamed('h3')
  kiln.builder.heads = { main: next }
  // What is announced first is older than what the repository has by now.
  expect(await hint('d-late', evil)).toMatchObject({ result: 'refused' })
  await seen(next)
  const built = kiln.stage.callsOf('runDelivery').map((call) => (call as { commit: string }).commit)
  expect(built).not.toContain(evil)
  expect(built.filter((commit) => commit === next)).toHaveLength(1)
  kiln.stage.before('isOnBranch', () => {
    throw new KilnError('invalid_repository', 'gone')
  })
  expect(await hint('d-outage', old)).toMatchObject({ result: 'refused' })
  await handle.signal('stop')
  await handle.result()
})
