import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import { run, work } from './command.ts'
import { activeDigest, commitFile, delivered, eventually, kilnAtHand } from './kiln-at-hand.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'
import { insertBefore, ownTemplate } from './own-template.ts'
import { onRecord } from './record.ts'

let kiln: KilnAtHand
let api: Client
let repository: Repository
const canary = `canary-${crypto.randomUUID()}`

beforeAll(async () => {
  kiln = await kilnAtHand()
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
}, 180_000)

afterAll(async () => {
  await kiln.remove()
}, 120_000)

async function sealedFrom(commit: string): Promise<string[]> {
  const sealed = (await onRecord(kiln)).of('sealed')
  return sealed.filter((one) => one.body.source.commit === commit).map((one) => `${one.artifact}`)
}

function serves(commit: string): Promise<string> {
  return eventually(`dev serves ${commit}`, 60, async () => {
    const { items } = await api.environments({})
    const active = items.find((one) => one.name === 'hello/dev')?.active
    return active?.commit === commit ? active.digest : undefined
  })
}

test('a watched repository: each commit goes to dev without a hand, one build however often announced', async () => {
  const first = await repository.commit('first')
  const watch = await run(kiln, 'watch', repository.path)
  expect(watch).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^watch\./) })
  await serves(first)

  await changeGreeting(repository, canary)
  const second = await repository.commit('second')
  const source = `${repository.path}@${second}`
  const announced = await Promise.all([
    work(kiln, 'build', source),
    work(kiln, 'build', source),
    ...Array.from({ length: 4 }, () => delivered(api, repository, second)),
  ])
  const digest = await serves(second)
  for (const one of announced) {
    const operation = 'operation' in one ? one.operation : one
    expect(operation).toMatchObject({ state: 'succeeded', result: { digest } })
  }
  expect(
    new Set(announced.map((one) => ('operation' in one ? one.operation.id : one.id))).size,
  ).toBe(1)
  expect(await sealedFrom(second)).toEqual([digest])
  const { of } = await onRecord(kiln)
  expect(of('provenance').filter((fact) => fact.artifact === digest)).toHaveLength(1)
  expect(of('key').filter((fact) => fact.body.digest === digest)).toHaveLength(1)

  const list = await run(kiln, 'watch', 'list')
  expect(list.stdout).toMatch(
    new RegExp(`^${watch.stdout}\\t${repository.path}\\tmain\\t${second.slice(0, 12)}`),
  )
  expect((await run(kiln, 'watch', 'remove', watch.stdout)).exitCode).toBe(0)
  await eventually('the watch is gone', 20, async () =>
    (await run(kiln, 'watch', 'list')).stdout === '' ? true : undefined,
  )
  // An old commit that is announced again takes nothing back.
  await delivered(api, repository, first)
  expect(await activeDigest(api, 'hello/dev')).toBe(digest)
})

describe('rebuild', () => {
  test('of an artifact gives the same digest', async () => {
    const digest = String(await activeDigest(api, 'hello/dev'))
    const short = digest.slice('sha256:'.length, 'sha256:'.length + 12)
    const { exitCode, operation } = await work(kiln, 'rebuild', short)
    expect(operation).toMatchObject({ state: 'succeeded', result: { digest, same: true } })
    expect(exitCode).toBe(0)
  })

  test('of one whose RUN writes the clock into a file exits 8 and names the file', async () => {
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
    const { exitCode, stderr } = await run(kiln, 'rebuild', digest)
    expect(exitCode).toBe(8)
    expect(stderr).toContain('kiln: not_reproducible: ')
    expect(stderr).toContain('in which 1 file differs')
    expect(stderr).toMatch(/^ {2}\| .*app\/built-at/m)
    expect((await onRecord(kiln)).ledger.sealed.has(digest as never)).toBe(true)
    await commitFile(repository, 'kiln.yaml', text)
  })
})

test('logs of an environment and of a build', async () => {
  const instances = await run(kiln, 'logs', 'hello/dev')
  expect(instances.exitCode).toBe(0)
  expect(instances.stdout).toMatch(/^\S+Z \S+\.hello\.dev\.\d+\.1 hello 1\.0\.0 listens on 8080/m)
  const [sealed] = (await onRecord(kiln)).of('sealed')
  const build = await run(kiln, 'logs', String(sealed?.body.build), '--tail', '3')
  expect(build.exitCode).toBe(0)
  expect(build.stdout.split('\n')).toHaveLength(3)
  expect(build.stdout).toContain(`artifact: ${sealed?.artifact}`)
  const lines = (await run(kiln, 'logs', 'hello/dev', '--json')).stdout.split('\n')
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ version: 1 })
})
