import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { collectLogs, instanceLogs } from '../../src/runtime/logs.ts'
import { removeEnvironment } from '../../src/runtime/instances.ts'
import {
  docker,
  effectOf,
  environment,
  hostAtHand,
  logger,
  startOf,
  until,
  type HostAtHand,
} from './host-at-hand.ts'

let host: HostAtHand
let folder: string
let epoch = 0

beforeAll(async () => {
  host = await hostAtHand()
}, 60_000)
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-logs-'))
})
afterEach(async () => {
  await removeEnvironment(host.engine, environment)
  await rm(folder, { recursive: true, force: true })
})
afterAll(() => host.close())

function collecting() {
  const ending = new AbortController()
  const done = collectLogs({ docker, naming: host.naming, folder, logger }, ending.signal)
  return async () => {
    ending.abort()
    await done
  }
}

async function started(version: string) {
  const digest = await host.artifact({ VERSION: version })
  const request = startOf(++epoch, { digest, definition: host.define(), count: 1 })
  const { instances } = await host.activities.startInstances(request)
  await host.activities.waitReady({ ...request, instances })
  return instances[0]?.name ?? ''
}

const logs = (tail = 100) => instanceLogs({ naming: host.naming, folder }, { environment, tail })
const untimed = async () =>
  (await logs())
    ?.trim()
    .split('\n')
    .map((line) => line.slice(line.indexOf(' ') + 1))

test('logs outlive their instance, in order, each line once though collecting began again', async () => {
  expect(await logs()).toBeUndefined()
  let stop = collecting()
  const first = await started('one')
  await until(async () => (await logs()) !== undefined)
  await stop()
  stop = collecting()
  const second = await started('two')
  await until(async () => (await logs())?.includes('version two') ?? false)
  await host.activities.stopInstances({ ...effectOf(epoch), keep: [] })
  await stop()
  expect(await untimed()).toEqual([`${first} version one listens`, `${second} version two listens`])
  expect(await logs(1)).toMatch(/^\S+ \S+ version two listens\n$/)
})

const name = (number: number) => `${host.naming.prefix}.hello.prod.0.${number}`

test('the logs of the newest twenty instances are kept', async () => {
  for (let number = 1; number <= 25; number++) {
    await writeFile(join(folder, `${name(number)}.log`), '2026-01-01T00:00:00.000000000Z old\n')
  }
  const stop = collecting()
  const newest = await started('three')
  await until(async () => (await logs())?.includes('version three') ?? false)
  await stop()
  const files = await readdir(folder)
  expect(files.toSorted()).toEqual(
    [
      ...Array.from({ length: 20 }, (_, index) => `${name(index + 6)}.log`),
      `${newest}.log`,
    ].toSorted(),
  )
})
