import { globSync } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { activeInDev, promoted } from './by-api.ts'
import { here, run, work } from './command.ts'
import {
  activeDigest,
  commitFile,
  delivered,
  eventually,
  followed,
  kilnAtHand,
  type KilnAtHand,
} from './kiln-at-hand.ts'
import { insertBefore, ownTemplate } from './own-template.ts'
import { onRecord } from './record.ts'
import { evidenceStory, machineStory, stoppedStory } from './stories/audit.ts'

let kiln: KilnAtHand
let repository: Repository
let first: string
let watched: string
const [faketime = ''] = globSync('/usr/lib/*/faketime/libfaketime.so.1')
const inFortyDays = { LD_PRELOAD: faketime, FAKETIME: '+40d', FAKETIME_DONT_FAKE_MONOTONIC: '1' }

beforeAll(async () => {
  kiln = await kilnAtHand()
  // From nothing, as on a new machine: this one bundles its workflows and makes its database.
  for (const made of ['run', 'index']) await rm(join(kiln.home, made), { recursive: true })
  await kiln.up()
  repository = await kiln.repository()
}, 180_000)

afterAll(async () => {
  await kiln.remove()
}, 120_000)

test('a commit becomes a sealed artifact that runs in the first environment', async () => {
  const api = await kiln.api()
  first = await activeInDev(api, repository, await repository.commit('first'))
  const { address } =
    (await api.environments({})).items.find((one) => one.name === 'hello/dev') ?? {}
  const answer = await fetch(`${address}/`)
  expect(answer.status).toBe(200)
})

test('it is promoted from environment to environment, and not past one', async () => {
  const api = await kiln.api()
  await expect(promoted(api, 'hello/prod', first)).rejects.toThrow('hello/test has never had')
  await promoted(api, 'hello/test', first)
  await promoted(api, 'hello/prod', first)
  expect(await activeDigest(api, 'hello/prod')).toBe(first)
})

const seen = () => ({ kiln, repository, digest: first })

describe('on the machine', () => {
  machineStory(seen)
})

describe('the truth', () => {
  evidenceStory(seen)
})

test('a second commit goes the same way, and prod comes back to the first digest', async () => {
  const api = await kiln.api()
  await changeGreeting(repository, 'Hello from the second commit')
  const second = await activeInDev(api, repository, await repository.commit('second'))
  expect(second).not.toBe(first)
  await promoted(api, 'hello/test', second)
  await promoted(api, 'hello/prod', second)
  const rehearsed = await work(kiln, 'rehearse', 'hello/prod')
  expect(rehearsed).toMatchObject({
    exitCode: 0,
    operation: { state: 'succeeded', result: { digest: first, readyMs: expect.any(Number) } },
  })
  expect(await activeDigest(api, 'hello/prod')).toBe(second)
  const { operation: back } = await api.rollback({
    params: { app: 'hello', environment: 'prod' },
    query: {},
    body: { reason: 'test' },
  })
  await followed(api, back)
  expect(await activeDigest(api, 'hello/prod')).toBe(first)
  const prod = await api.environment({ params: { app: 'hello', environment: 'prod' } })
  expect(prod.hold?.by).toBe('token')
})

async function sealedFrom(commit: string): Promise<string[]> {
  const sealed = (await onRecord(kiln)).of('sealed')
  return sealed.filter((one) => one.body.source.commit === commit).map((one) => `${one.artifact}`)
}

function serves(api: Client, commit: string): Promise<string> {
  return eventually(`dev serves ${commit}`, 60, async () => {
    const { items } = await api.environments({})
    const active = items.find((one) => one.name === 'hello/dev')?.active
    return active?.commit === commit ? active.digest : undefined
  })
}

/** By a process of its own, as a pipeline does it. */
async function built(source: string): Promise<Operation> {
  const { stdout } = await run(kiln, 'build', source, '--json')
  return (JSON.parse(stdout) as { operation: Operation }).operation
}

test('a watched repository: each commit goes to dev without a hand, one build however often announced', async () => {
  const api = await kiln.api()
  await changeGreeting(repository, 'watched')
  const earlier = await repository.commit('watched')
  const watch = await run(kiln, 'watch', repository.path)
  expect(watch).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^watch\./) })
  watched = await serves(api, earlier)

  await changeGreeting(repository, `canary-${crypto.randomUUID()}`)
  const newest = await repository.commit('newest')
  const source = `${repository.path}@${newest}`
  const announced = await Promise.all([
    built(source),
    built(source),
    ...Array.from({ length: 4 }, () => delivered(api, repository, newest)),
  ])
  const digest = await serves(api, newest)
  for (const operation of announced) {
    expect(operation).toMatchObject({ state: 'succeeded', result: { digest } })
  }
  expect(new Set(announced.map(({ id }) => id)).size).toBe(1)
  expect(await sealedFrom(newest)).toEqual([digest])
  const { of } = await onRecord(kiln)
  expect(of('provenance').filter((fact) => fact.artifact === digest)).toHaveLength(1)
  expect(of('key').filter((fact) => fact.body.digest === digest)).toHaveLength(1)

  const row = new RegExp(`^${watch.stdout}\\t${repository.path}\\tmain\\t${newest.slice(0, 12)}`)
  await eventually('the watch has seen the newest', 60, async () =>
    row.test((await here(kiln, 'watch', 'list')).stdout) ? true : undefined,
  )
  expect((await here(kiln, 'watch', 'remove', watch.stdout)).exitCode).toBe(0)
  await eventually('the watch is gone', 20, async () =>
    (await here(kiln, 'watch', 'list')).stdout === '' ? true : undefined,
  )
  // An old commit that is announced again takes nothing back.
  await delivered(api, repository, earlier)
  expect(await activeDigest(api, 'hello/dev')).toBe(digest)
})

describe('rebuild', () => {
  test('of one whose RUN writes the clock into a file exits 8 and names the file', async () => {
    const api = await kiln.api()
    await ownTemplate(kiln, 'clock', {
      dockerfile: insertBefore('USER', 'RUN date +%s%N > /app/built-at'),
    })
    const text = await readFile(join(repository.path, 'kiln.yaml'), 'utf8')
    const commit = await commitFile(
      repository,
      'kiln.yaml',
      text.replace('template: node-service', 'template: clock'),
    )
    const digest = String((await delivered(api, repository, commit)).result['digest'])
    const { exitCode, stderr } = await here(kiln, 'rebuild', digest)
    expect(exitCode).toBe(8)
    expect(stderr).toContain('kiln: not_reproducible: ')
    expect(stderr).toContain('in which 1 file differs')
    expect(stderr).toMatch(/^ {2}\| .*app\/built-at/m)
    expect((await onRecord(kiln)).ledger.sealed.has(digest as never)).toBe(true)
    await commitFile(repository, 'kiln.yaml', text)
  })

  test('of an artifact that was collected gives the same digest, and it can be returned to again', async () => {
    // Forty days later, when only what serves, its rollback target and the last good one are leased.
    const later = { ...kiln, env: { ...kiln.env, ...inFortyDays, KILN_KEEP_RETURNS: '1' } }
    const inStore = (folder: string) =>
      readdir(join(kiln.home, 'store', folder), { recursive: true })
    const before = [await inStore('blobs'), await inStore('repositories')]
    const shown = JSON.parse((await run(later, 'gc', '--json')).stdout)
    // Shown first, and nothing is touched by that.
    expect([await inStore('blobs'), await inStore('repositories')]).toEqual(before)
    expect(shown).toMatchObject({ applied: false, faults: [] })
    expect(shown.artifacts).toMatchObject([{ digest: watched, app: 'hello' }])
    // Killed when it has said what it will remove, it is as if it had not begun.
    const dying = { ...later, env: { ...later.env, KILN_CRASH_AT: 'collection.announced' } }
    const killed = await run(dying, 'gc', '--apply', '--json')
    expect([killed.exitCode ?? 137, killed.stdout]).toEqual([137, ''])
    expect(await here(kiln, 'fsck')).toMatchObject({ exitCode: 0 })
    const done = JSON.parse((await run(later, 'gc', '--apply', '--json')).stdout)
    expect(done).toMatchObject({ applied: true, spared: 0, artifacts: shown.artifacts })
    expect(done.bytes).toBe(shown.bytes)
    expect(await here(kiln, 'fsck')).toMatchObject({ exitCode: 0 })
    const back = ['rollback', 'hello/dev', '--to', watched] as const
    const refused = await work(kiln, ...back)
    expect(refused.operation).toMatchObject({
      state: 'refused',
      failure: { place: 'collected', fix: expect.stringContaining(`kiln rebuild ${watched}`) },
    })
    expect(refused.exitCode).toBe(5)
    const rebuilt = await work(kiln, 'rebuild', watched.slice(7, 19))
    expect(rebuilt.operation).toMatchObject({
      failure: null,
      state: 'succeeded',
      result: { digest: watched, same: true },
    })
    expect(await work(kiln, ...back)).toMatchObject({ exitCode: 0 })
    expect(await activeDigest(await kiln.api(), 'hello/dev')).toBe(watched)
  })
})

test('logs of an environment and of a build', async () => {
  const instances = await here(kiln, 'logs', 'hello/dev')
  expect(instances.exitCode).toBe(0)
  expect(instances.stdout).toMatch(/^\S+Z \S+\.hello\.dev\.\d+\.1 hello 1\.0\.0 listens on 8080/m)
  const [sealed] = (await onRecord(kiln)).of('sealed')
  const build = await here(kiln, 'logs', String(sealed?.body.build), '--tail', '3')
  expect(build.exitCode).toBe(0)
  expect(build.stdout.split('\n')).toHaveLength(3)
  expect(build.stdout).toContain(`artifact: ${sealed?.artifact}`)
  const lines = (await here(kiln, 'logs', 'hello/dev', '--json')).stdout.split('\n')
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ version: 1 })
})

describe('the truth', () => {
  stoppedStory(seen)
})
