import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import type { Operation, Step } from '../../src/domain/operation.ts'
import { ownDocker, type OwnDocker } from '../helpers/own-docker.ts'
import { activeDigest, delivered, ended, eventually, kilnAtHand } from './kiln-at-hand.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'
import { insertBefore, ownTemplate } from './own-template.ts'
import { changesOf, containersOf, onRecord } from './record.ts'

let engine: OwnDocker
let kiln: KilnAtHand
let api: Client
let repository: Repository
let first: string
/** Three seconds pass until it is ready. */
let slow: string

beforeAll(async () => {
  engine = await ownDocker({ live: true })
  kiln = await kilnAtHand({ DOCKER_HOST: `unix://${engine.socketPath}` })
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
  await withoutDependencies()
  const operation = await delivered(api, repository, await repository.commit('first'))
  first = String(operation.result['digest'])
  await eventually('dev serves', 60, async () =>
    (await activeDigest(api, 'hello/dev')) === first ? true : undefined,
  )
}, 240_000)

afterAll(async () => {
  try {
    await kiln.remove()
  } finally {
    await engine.close()
  }
}, 120_000)

/** The engine of this test reaches no registry: the service goes without its one package. */
async function withoutDependencies(): Promise<void> {
  await edit('server.js', (text) =>
    text.replace("import ms from 'ms'", 'const ms = Number.parseFloat'),
  )
  for (const file of ['package.json', 'package-lock.json']) {
    await edit(file, (text) => {
      const json = JSON.parse(text) as { dependencies?: object; packages?: Record<string, object> }
      delete json.dependencies
      if (json.packages !== undefined) json.packages = { '': { name: 'hello', version: '1.0.0' } }
      return JSON.stringify(json)
    })
  }
}

async function edit(file: string, change: (text: string) => string): Promise<void> {
  const path = join(repository.path, file)
  const text = await readFile(path, 'utf8')
  expect(change(text)).not.toBe(text)
  await writeFile(path, change(text))
}

/** The step that runs once it is as wanted. */
function runningStep(id: string, wanted: (step: Step) => boolean): Promise<Step> {
  return eventually(`a step of ${id}`, 60, async () => {
    const { operation } = await api.operation({ params: { id } })
    expect(operation).toMatchObject({ failure: null, endedAt: null })
    return operation.steps.find((step) => step.state === 'running' && wanted(step))
  })
}

/** Stops the engine, sees that the work says what it waits for, and starts the engine again. */
async function outage(id: string): Promise<Operation> {
  await engine.stop('SIGTERM')
  try {
    const says = /^try \d+: the Docker Engine does not answer/
    await runningStep(id, ({ attempt, detail }) => attempt > 1 && says.test(detail ?? ''))
    // The engine keeps instances running without itself (live-restore), and nobody needs it to reach them.
    expect(await devAnswers()).toBe(true)
  } finally {
    await engine.start()
  }
  return ended(api, { id })
}

test('a build waits for an engine that was stopped in the middle of a RUN, and goes on', async () => {
  await ownTemplate(kiln, 'slow', {
    dockerfile: insertBefore(
      'USER',
      'RUN trap "exit 1" TERM; echo it runs; sleep 2 & wait; echo it ended',
    ),
  })
  await edit('kiln.yaml', (text) => text.replace('template: node-service', 'template: slow'))
  await edit('server.js', (text) =>
    text.replace('stopping ? 503', 'stopping || process.uptime() < 3 ? 503'),
  )
  const { operation } = await api.startBuild({
    params: {},
    query: {},
    body: { repository: repository.path, revision: await repository.commit('slow') },
  })
  await eventually('the RUN runs', 60, async () => {
    const log = await api.buildLog({ params: { id: operation.id }, query: {} }).catch(() => '')
    return log.includes('it runs\n') ? true : undefined
  })
  const end = await outage(operation.id)
  expect(end).toMatchObject({ state: 'succeeded', failure: null })
  const { ledger, of } = await onRecord(kiln)
  slow = String(end.result['digest'])
  expect(ledger.sealed.has(slow as never)).toBe(true)
  expect(of('provenance').filter((fact) => fact.artifact === slow)).toHaveLength(1)
  expect(ledger.rejected.size).toBe(0)
  await eventually('dev serves what was built', 60, async () =>
    (await activeDigest(api, 'hello/dev')) === slow ? true : undefined,
  )
})

async function devAnswers(): Promise<boolean> {
  const at = { params: { app: 'hello', environment: 'dev' }, query: {} }
  const { address } = await api.environment(at)
  return fetch(String(address)).then(
    (answer) => answer.ok,
    () => false,
  )
}

test.each([
  { when: 'it has begun', digest: () => first, at: () => true },
  {
    when: 'its instances start',
    digest: () => slow,
    at: (step: Step) => step.name === 'wait until ready',
  },
])(
  'a promotion waits for an engine that was stopped when $when, and goes on',
  async ({ when, digest: given, at }) => {
    const before = (await changesOf(kiln, 'hello/test')).length
    const digest = given()
    const { operation } = await api.promote({
      params: { app: 'hello', environment: 'test' },
      query: {},
      body: { digest: digest as never, reason: when },
    })
    await runningStep(operation.id, at)
    const end = await outage(operation.id)
    expect(end).toMatchObject({ state: 'succeeded', failure: null })
    expect(await activeDigest(api, 'hello/test')).toBe(digest)
    const changes = (await changesOf(kiln, 'hello/test')).slice(before)
    expect(changes[0]?.map((fact) => fact.kind)).toEqual(['change', 'key', 'activation'])
    await eventually('every environment serves again', 60, async () => {
      const { items } = await api.environments({})
      const answers = await Promise.all(
        items
          .filter((one) => one.active !== null)
          .map(({ address }) =>
            fetch(String(address)).then(
              (answer) => answer.ok,
              () => false,
            ),
          ),
      )
      return answers.every((ok) => ok) ? true : undefined
    })
    const left = await containersOf(kiln, engine.socketPath)
    expect(left.map((one) => `${one.environment} ${one.state}`).toSorted()).toEqual([
      'hello/dev running',
      'hello/test running',
    ])
  },
)
