import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { watchIdOf } from '../../src/main/watch-file.ts'
import { createWatches } from '../../src/main/watches.ts'
import { commitNamed } from './fake-builder.ts'
import {
  kilnInMemory,
  person,
  testTemporal,
  until,
  type KilnInMemory,
  type TestTemporal,
} from './kiln-in-memory.ts'

const folder = mkdtempSync(join(tmpdir(), 'kiln-watches-'))
let temporal: TestTemporal
let kiln: KilnInMemory
let file: string
let number = 0

beforeAll(async () => {
  temporal = await testTemporal()
  kiln = await kilnInMemory(temporal)
})
afterAll(async () => {
  await kiln.close()
  await temporal.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  number += 1
  kiln.builder.heads = {}
  file = join(folder, `watches-${number}.json`)
})

/** The server of a home; a second one is what starts after the first. */
function watchesOf(everyMs = 50) {
  return createWatches({ client: kiln.client, everyMs, file, logger: pino({ level: 'silent' }) })
}

const asked = { principal: person, id: 'asked' } as never

/** As if Temporal had never heard of it. */
async function forget(workflowId: string): Promise<void> {
  const { client } = kiln
  await client.workflow.getHandle(workflowId).terminate('lost')
  await client.workflowService.deleteWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId },
  })
  await until(`${workflowId} is forgotten`, async () =>
    client.workflow
      .getHandle(workflowId)
      .describe()
      .then(
        () => undefined,
        () => true,
      ),
  )
}

/** A commit, and what the watch says of it once it was delivered: nothing is left in work. */
async function pushed(name: string, { list }: ReturnType<typeof watchesOf>): Promise<string> {
  const commit = commitNamed(`${name} ${number}`)
  kiln.builder.heads = { main: commit }
  return until(`${name} is delivered`, async () =>
    (await list())[0]?.lastCommit === commit ? commit : undefined,
  )
}

test('a watch that Temporal lost is started again, and delivers what came since; nothing twice', async () => {
  const { id } = await watchesOf().start(asked, { repository: kiln.repository, branches: ['main'] })
  const first = await pushed('before', watchesOf())
  const built = () => kiln.stage.callsOf('buildImage').length
  await until('it is built', async () => (built() > 0 ? true : undefined))
  const dev = await until('dev has it', async () => {
    const { active, open } = await kiln.state(kiln.dev)
    return open === null && active !== null ? active.leaf : undefined
  })
  const before = built()
  await forget(id)
  const after = watchesOf()
  expect(await after.list()).toMatchObject([
    { id, lastCommit: null, failure: { code: 'not_running' } },
  ])
  await after.reconcile()
  await until('it has looked', async () =>
    (await after.list())[0]?.lastCommit === first ? true : undefined,
  )
  expect(built()).toBe(before)
  expect((await kiln.state(kiln.dev)).active?.leaf).toBe(dev)
  await pushed('after', after)
  await after.stop(asked, id)
})

test('a watch is written down before Temporal is told, and forgotten before it is ended', async () => {
  const watches = watchesOf()
  const { id, since } = await watches.start(asked, {
    repository: kiln.repository,
    branches: ['main'],
  })
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
    version: 1,
    watches: [{ repository: kiln.repository, branches: ['main'], principal: person, since }],
  })
  // As a server leaves it that is killed after either of the two writes.
  const ended = () => until('it ended', async () => ((await isRunning(id)) ? undefined : true))
  await kiln.client.workflow.getHandle(id).terminate('never told')
  await watchesOf().reconcile()
  expect(await isRunning(id)).toBe(true)
  writeFileSync(file, '{"version":1,"watches":[]}')
  await watchesOf().reconcile()
  await ended()
  expect(await watches.list()).toEqual([])
  expect(await watches.stop(asked, id)).toBeUndefined()
})

test('other branches and another interval are another watch; the same one is left alone', async () => {
  const watches = watchesOf()
  const repository = kiln.repository
  const { id } = await watches.start(asked, { repository, branches: ['main'] })
  const run = async () => (await kiln.client.workflow.getHandle(id).describe()).runId
  const first = await run()
  await watches.reconcile()
  expect(await run()).toBe(first)
  await watches.start(asked, { repository, branches: ['main', 'next'] })
  const second = await run()
  expect(second).not.toBe(first)
  expect((await watches.list()).map(({ branches }) => branches)).toEqual([['main', 'next']])
  await watchesOf(60_000).reconcile()
  expect(await run()).not.toBe(second)
  await watches.stop(asked, id)
})

test('what is announced for a watch that Temporal lost is looked at', async () => {
  const watches = watchesOf(86_400_000)
  const { id } = await watches.start(asked, { repository: kiln.repository, branches: ['main'] })
  await kiln.client.workflow.getHandle(id).terminate('lost')
  const commit = commitNamed('announced')
  kiln.builder.heads = { main: commit }
  await watches.hint(id, { forge: 'github', delivery: 'lost', branch: 'main', commit })
  const settled = await until('it is settled', async () =>
    kiln.forge.settled.find((one) => (one as { delivery: string }).delivery === 'lost'),
  )
  expect(settled).toMatchObject({ result: 'looked' })
  await watches.stop(asked, id)
})

test('watches of a release that kept no file are written down', async () => {
  const since = new Date().toISOString()
  const repository = '/repository/of-before'
  const input = { repository, branches: ['main'], everyMs: 50, principal: person }
  const { firstExecutionRunId } = await kiln.client.workflow.start('watchRepository', {
    workflowId: watchIdOf(repository),
    taskQueue: 'control',
    args: [{ ...input, since }],
  })
  await until('Temporal lists it', async () => {
    const query = `WorkflowType = 'watchRepository' AND ExecutionStatus = 'Running'`
    for await (const { runId: listed } of kiln.client.workflow.list({ query }))
      if (listed === firstExecutionRunId) return true
    return undefined
  })
  const watches = watchesOf()
  expect(await watches.list()).toMatchObject([
    { repository, branches: ['main'], requestedBy: person.name, since },
  ])
  // A new one does not make it forget those.
  await watches.start(asked, { repository: '/repository/other', branches: ['main'] })
  expect(await watches.list()).toHaveLength(2)
  await Promise.all((await watches.list()).map(({ id }) => watches.stop(asked, id)))
})

test.each(['{', '{"version":2,"watches":[]}', '{"version":1,"watches":[{"repository":"/r"}]}'])(
  'a list that says something else stops nothing and names its place: %s',
  async (text) => {
    writeFileSync(file, text)
    await expect(watchesOf().reconcile()).rejects.toMatchObject({
      code: 'prerequisite_missing',
      place: file,
    })
  },
)

async function isRunning(id: string): Promise<boolean> {
  const { status } = await kiln.client.workflow.getHandle(id).describe()
  return status.name === 'RUNNING'
}
