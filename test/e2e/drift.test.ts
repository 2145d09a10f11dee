import { Connection } from '@temporalio/client'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import { createDocker } from '../../src/docker/client.ts'
import { loadConfig } from '../../src/main/config.ts'
import { startLoad } from '../helpers/load-client.ts'
import { run, work } from './command.ts'
import {
  activeDigest,
  commitFile,
  delivered,
  eventually,
  kilnAtHand,
  type KilnAtHand,
} from './kiln-at-hand.ts'
import { changesOf, containersOf, onRecord } from './record.ts'

const docker = createDocker({ socketPath: '/var/run/docker.sock' })
let kiln: KilnAtHand
let api: Client
let repository: Repository
let first: string

beforeAll(async () => {
  kiln = await kilnAtHand({ KILN_KEEP_HISTORIES: '3' })
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
  first = await toDev(await repository.commit('first'))
  for (const environment of ['test', 'prod']) await work(kiln, 'promote', environment, first)
}, 240_000)
afterAll(async () => {
  await kiln.remove()
}, 120_000)

const prod = () => api.environment({ params: { app: 'hello', environment: 'prod' } })
const dev = () => api.environment({ params: { app: 'hello', environment: 'dev' } })

/** A commit's artifact, active in dev. */
async function toDev(commit: string): Promise<string> {
  const digest = String((await delivered(api, repository, commit)).result['digest'])
  await eventually('dev serves it', 60, async () =>
    (await activeDigest(api, 'hello/dev')) === digest ? true : undefined,
  )
  return digest
}

async function upperOf(id: string): Promise<string> {
  const { GraphDriver } = await docker.getContainer(id).inspect()
  const { UpperDir } = GraphDriver.Data as unknown as { UpperDir: string }
  return UpperDir
}

test('files changed in every instance at once: found by a scan, replaced, no request lost', async () => {
  expect((await run(kiln, 'scan', 'prod')).exitCode).toBe(0)
  const before = await prod()
  const traffic = startLoad(String(before.address), { path: '/work', connections: 2, delayMs: 2 })
  for (const { id } of before.running) await writeFile(join(await upperOf(id), 'planted'), 'canary')
  const scanned = await run(kiln, 'scan', 'prod', '--json')
  expect(scanned.exitCode).toBe(8)
  expect(scanned.stdout).toContain('added /planted: sha256:')
  expect(scanned.stdout).not.toContain('canary')
  await eventually('all are new', 60, async () => {
    const now = await prod()
    const old = before.running.map(({ id }) => id)
    const fresh = now.running.every(({ id }) => !old.includes(id))
    return now.open === null && fresh && now.running.length === 2 ? true : undefined
  })
  expect(await traffic.stop()).toMatchObject({ failed: 0, errors: [] })
  const { of } = await onRecord(kiln)
  const told = of('drift').filter(({ body }) => body.cause === 'content')
  expect(told.map(({ body }) => body.instance).toSorted()).toEqual(
    before.running.map(({ name }) => name).toSorted(),
  )
  expect((await run(kiln, 'scan', 'prod')).exitCode).toBe(0)
}, 90_000)

test('what has ended stays in Temporal for as many days as the setting says', async () => {
  const { temporal } = loadConfig({ KILN_HOME: kiln.home, ...kiln.env }, '/')
  const connection = await Connection.connect({ address: temporal.address })
  const { config } = await connection.workflowService.describeNamespace({ namespace: 'default' })
  await connection.close()
  expect(Number(config?.workflowExecutionRetentionTtl?.seconds)).toBe(3 * 24 * 3600)
})

test('an app that crashes by itself again and again is replaced three times, then alarms, and is not looped', async () => {
  const server = await readFile(join(repository.path, 'server.js'), 'utf8')
  const broken = server.replace(
    'await wait(workMs)',
    'setTimeout(() => process.exit(7), 100); await wait(workMs)',
  )
  const commit = await commitFile(repository, 'server.js', broken)
  await toDev(commit)
  const before = await prod()
  const { address, epoch } = await eventually('dev is settled', 60, async () => {
    const now = await dev()
    return now.open === null && now.running.length === 1 ? now : undefined
  })

  let hit = ''
  const alarm = await eventually('the alarm', 120, async () => {
    const now = await dev()
    const [{ id } = { id: '' }] = now.running
    if (now.alarm !== null) return now.alarm
    if (now.open !== null || id === hit) return undefined
    hit = id
    // Its first request is what it cannot bear.
    await startLoad(String(address), { path: '/work', connections: 1, maxRequests: 1 }).stop()
    return undefined
  })
  expect(alarm).toMatchObject({ cause: 'stopped' })
  const made = (await changesOf(kiln, 'hello/dev')).filter(
    ([change]) => change !== undefined && change.body.epoch > epoch,
  )
  expect(made.map(([change, outcome]) => [change?.body, outcome?.body])).toMatchObject(
    Array.from({ length: 3 }, () => [
      { changeKind: 'replacement', requestedBy: 'kiln' },
      { outcome: 'active' },
    ]),
  )

  // Looking again starts nothing more, and says nothing twice.
  expect((await run(kiln, 'scan', 'dev')).exitCode).toBe(8)
  const left = (await containersOf(kiln)).filter((one) => one.environment === 'hello/dev')
  expect(left).toMatchObject([{ id: hit, state: 'exited' }])
  expect((await dev()).epoch).toBe(epoch + 3)
  const { of } = await onRecord(kiln)
  const alarms = of('refusal').filter(({ body }) => body.rule === 'repeated-drift.stopped')
  expect(alarms).toMatchObject([{ body: { environment: 'hello/dev' } }])
  expect(of('drift').filter(({ body }) => body.found.includes('exit code 7'))).not.toEqual([])
  const { stderr, stdout } = await run(kiln, 'status')
  expect(`${stdout}${stderr}`).toContain('ALARM hello/dev: instances of hello/dev were replaced 3')
  expect(await readFile(join(kiln.home, 'logs/server.log'), 'utf8')).toContain(
    '"alarm":"repeated-drift.stopped"',
  )
  expect((await prod()).running).toEqual(before.running)

  const back = await work(kiln, 'rollback', 'dev', '--to', first, '--reason', 'it crashes')
  expect(back).toMatchObject({ exitCode: 0, operation: { state: 'succeeded' } })
  expect(await dev()).toMatchObject({ alarm: null, active: { digest: first } })
  expect((await run(kiln, 'scan', 'dev')).exitCode).toBe(0)
}, 240_000)
