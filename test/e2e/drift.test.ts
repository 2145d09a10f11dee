import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Client } from '../../src/api/client.ts'
import { createDocker } from '../../src/docker/client.ts'
import { startLoad } from '../helpers/load-client.ts'
import { run, work } from './command.ts'
import { activeDigest, delivered, eventually, kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'
import { onRecord } from './record.ts'

const docker = createDocker({ socketPath: '/var/run/docker.sock' })
let kiln: KilnAtHand
let api: Client

beforeAll(async () => {
  kiln = await kilnAtHand()
  await kiln.up()
  api = await kiln.api()
  const repository = await kiln.repository()
  const built = await delivered(api, repository, await repository.commit('first'))
  await eventually('dev serves it', 60, async () =>
    (await activeDigest(api, 'hello/dev')) === built.result['digest'] ? true : undefined,
  )
  for (const environment of ['test', 'prod'])
    await work(kiln, 'promote', environment, String(built.result['digest']))
}, 240_000)
afterAll(async () => {
  await kiln.remove()
}, 120_000)

const prod = () => api.environment({ params: { app: 'hello', environment: 'prod' } })

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
