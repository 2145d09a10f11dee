import { execa } from 'execa'
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'
import { readState } from '../../src/main/supervisor/state.ts'
import { startLoad, type LoadReport } from '../helpers/load-client.ts'
import { eventually, kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'
import { changesOf, containersOf, onRecord } from './record.ts'

/** Where a process may kill itself here; each is armed by one test alone. */
const points = [
  'buildImage.done',
  'ledger.bundle-stored',
  'ledger.head-swapped',
  'sealArtifact.done',
  'startInstances.done',
  'edge.drained',
  'stopInstances.done',
  'recordActivation.done',
]
const processes = ['signer', 'temporal', 'haproxy', 'server', 'build', 'host'] as const
type ProcessName = (typeof processes)[number]

let kiln: KilnAtHand
let repository: Repository
let commits = 0

beforeAll(async () => {
  kiln = await kilnAtHand({ KILN_CRASH_AT: points.join(',') })
  mkdirSync(join(kiln.home, 'run'), { recursive: true })
  for (const point of points) writeFileSync(marker(point), '')
  await kiln.up()
  repository = await kiln.repository()
  const first = await deliver()
  await promote('test', first)
  await promote('prod', first)
}, 180_000)

afterAll(async () => {
  await kiln.remove()
}, 120_000)

beforeEach(() => allReady())

/** A point whose marker is there is disarmed: a process has died at it, or shall not. */
function marker(point: string): string {
  return join(kiln.home, 'run', `crashed-${point}`)
}

function arm(armed: readonly string[]): void {
  for (const point of armed) rmSync(marker(point))
}

function armedStill(): string[] {
  const there = readdirSync(join(kiln.home, 'run'))
  return points.filter((point) => !there.includes(`crashed-${point}`))
}

function stateOf(name: ProcessName) {
  const found = readState(kiln.home)?.processes.find((one) => one.name === name)
  if (found === undefined) throw new Error(`the supervisor knows no ${name}`)
  return found
}

async function allReady(): Promise<void> {
  await eventually('every process is ready', 60, async () =>
    processes.every((name) => stateOf(name).state === 'ready') ? true : undefined,
  )
}

/** kill -9 at a moment that nobody chose, once it is started again too. */
async function killAtRandom(name: ProcessName, withinMs: number): Promise<void> {
  await delay(Math.random() * withinMs)
  const { pid, restarts } = stateOf(name)
  if (pid === null) throw new Error(`${name} does not run`)
  process.kill(pid, 'SIGKILL')
  await eventually(`${name} is started again`, 60, async () =>
    stateOf(name).restarts > restarts && stateOf(name).state === 'ready' ? true : undefined,
  )
}

/** An operation's end, asked again and again: whoever answers may be dead for a while. */
async function ended({ id }: Operation): Promise<Operation> {
  return eventually(`${id} ends`, 120, async () => {
    const answer = await (await kiln.api()).operation({ params: { id } }).catch(() => undefined)
    return answer !== undefined && hasEnded(answer.operation) ? answer.operation : undefined
  })
}

async function startDelivery(): Promise<Operation> {
  commits += 1
  await changeGreeting(repository, `Hello, number ${commits}`)
  const revision = await repository.commit(`number ${commits}`)
  const body = { repository: repository.path, revision }
  return (await (await kiln.api()).startBuild({ params: {}, query: {}, body })).operation
}

/** The delivered artifact, once dev serves it. */
async function delivered(operation: Operation): Promise<string> {
  const { state, failure, result } = await ended(operation)
  if (state !== 'succeeded') throw new Error(`${state}: ${failure?.message}`)
  const change = await ended({ id: String(result['change']) } as Operation)
  expect(change.state).toBe('succeeded')
  return String(result['digest'])
}

const deliver = async () => delivered(await startDelivery())

async function startPromotion(environment: string, digest: string): Promise<Operation> {
  const body = { digest: digest as never, reason: 'test' }
  const params = { app: 'hello', environment }
  return (await (await kiln.api()).promote({ params, query: {}, body })).operation
}

async function promote(environment: string, digest: string): Promise<void> {
  const { state, failure } = await ended(await startPromotion(environment, digest))
  if (state !== 'succeeded') throw new Error(`${state}: ${failure?.message}`)
}

/** Runs `work` while a client of its own process talks to prod. */
async function underLoad(work: () => Promise<void>): Promise<LoadReport> {
  const params = { app: 'hello', environment: 'prod' }
  const { address } = await (await kiln.api()).environment({ params })
  const load = startLoad(String(address), { path: '/work' })
  try {
    await work()
  } catch (error) {
    await load.stop()
    throw error
  }
  return load.stop()
}

/** What must hold after whatever was killed: one entry a decision, what the log says runs, and no more. */
async function isSound(): Promise<void> {
  const { ledger } = await onRecord(kiln)
  expect(ledger.void.size).toBe(0)
  for (const state of ledger.environments.values()) {
    const groups = await changesOf(kiln, state.environment)
    const kinds = groups.map((group) => group.map((fact) => fact.kind).join(' '))
    expect(new Set(kinds)).toEqual(new Set(['change key activation']))
    expect(kinds).toHaveLength(state.epoch)
    expect(state.open).toBe(null)
  }
  const running = [...ledger.environments.values()].flatMap((state) =>
    state.running.map(({ id }) => `${state.environment} ${state.active?.body.digest} ${id}`),
  )
  const containers = await containersOf(kiln)
  expect(
    containers.map(({ id, environment, digest }) => `${environment} ${digest} ${id}`).toSorted(),
  ).toEqual(running.toSorted())
  expect(containers.every(({ state }) => state === 'running')).toBe(true)
  await nothingLeftBehind(ledger.environments.size)
}

async function lines(...args: string[]): Promise<string[]> {
  return (await execa('docker', args)).stdout.split('\n').filter((line) => line !== '')
}

/** Networks, steps' containers, images and volumes. */
async function nothingLeftBehind(environments: number): Promise<void> {
  const networks = await lines('network', 'ls', '-q', '--filter', `label=kiln.host=${kiln.host}`)
  expect(networks).toHaveLength(environments)
  const { of } = await onRecord(kiln)
  for (const { body } of of('sealed')) {
    const label = `label=kiln.build=${body.build}`
    expect(await lines('ps', '-aq', '--filter', label)).toEqual([])
    expect(await lines('volume', 'ls', '-q', '--filter', label)).toEqual([])
    const images = await lines('images', '--filter', label, '--format', '{{.Repository}}')
    expect(images.filter((name) => !name.startsWith('kiln-cache/'))).toEqual([])
  }
}

async function serves(environment: string): Promise<string | undefined> {
  const { ledger } = await onRecord(kiln)
  return ledger.environments.get(`hello/${environment}`)?.active?.body.digest
}

test('a build whose processes are killed after each durable step ends in one sealed artifact', async () => {
  const before = await onRecord(kiln)
  const kills = [
    'buildImage.done',
    'ledger.bundle-stored',
    'ledger.head-swapped',
    'sealArtifact.done',
  ]
  const report = await underLoad(async () => {
    arm(kills)
    const digest = await deliver()
    expect(armedStill()).toEqual([])
    const { facts, of } = await onRecord(kiln)
    expect(facts.slice(before.facts.length).map((fact) => fact.kind)).toEqual([
      'sbom',
      'provenance',
      'sealed',
      'change',
      'key',
      'activation',
    ])
    expect(of('sealed').at(-1)?.artifact).toBe(digest)
  })
  expect(report.errors).toEqual([])
  await isSound()
})

test.each(['server', 'build', 'signer'] as const)(
  'kill -9 of %s at any moment of a build ends in one sealed artifact',
  async (name) => {
    const before = (await onRecord(kiln)).of('sealed').length
    const operation = await startDelivery()
    await killAtRandom(name, 3000)
    const digest = await delivered(operation)
    const sealed = (await onRecord(kiln)).of('sealed').slice(before)
    expect(sealed.map((fact) => fact.artifact)).toEqual([digest])
    await isSound()
  },
)

test('a promotion whose processes are killed after each durable step ends at the new, without a failed request', async () => {
  const digest = await deliver()
  await promote('test', digest)
  const kills = [
    'ledger.bundle-stored',
    'ledger.head-swapped',
    'startInstances.done',
    'edge.drained',
    'stopInstances.done',
    'recordActivation.done',
  ]
  const report = await underLoad(async () => {
    arm(kills)
    await promote('prod', digest)
    expect(armedStill()).toEqual([])
  })
  expect(report.errors).toEqual([])
  expect(report.sent).toBeGreaterThan(100)
  expect(await serves('prod')).toBe(digest)
  await isSound()
})

/** Prod goes from one proved artifact to another while `name` is killed. */
async function promoteAndKill(name: ProcessName): Promise<LoadReport> {
  const { ledger } = await onRecord(kiln)
  const proved = ledger.environments.get('hello/test')?.good ?? []
  const now = ledger.environments.get('hello/prod')?.active?.body.digest
  const digest = proved.map((key) => key.body.digest).findLast((one) => one !== now)
  const report = await underLoad(async () => {
    const operation = await startPromotion('prod', String(digest))
    await killAtRandom(name, 2000)
    const { state, failure } = await ended(operation)
    expect(`${state} ${failure?.message}`).toBe('succeeded undefined')
  })
  expect(await serves('prod')).toBe(digest)
  await isSound()
  return report
}

test.each(['server', 'host', 'signer', 'temporal'] as const)(
  'kill -9 of %s at any moment of a promotion ends at the new, without a failed request',
  async (name) => {
    const report = await promoteAndKill(name)
    expect(report.errors).toEqual([])
  },
)

test('kill -9 of haproxy cuts its connections, and it comes back with what serves', async () => {
  const cut = await promoteAndKill('haproxy')
  expect(cut.ok).toBeGreaterThan(0)
  const afterwards = await underLoad(() => delay(1000))
  expect(afterwards.errors).toEqual([])
  expect(afterwards.ok).toBeGreaterThan(0)
})

test('the whole log is derived again without a fault', async () => {
  const { exitCode } = await execa(join(import.meta.dirname, '../../bin/kiln'), ['fsck'], {
    env: { KILN_HOME: kiln.home, ...kiln.env },
    reject: false,
  })
  expect(exitCode).toBe(0)
})
