import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import {
  activeDigest,
  delivered,
  eventually,
  followed,
  kilnAtHand,
  type KilnAtHand,
} from './kiln-at-hand.ts'

let kiln: KilnAtHand
let repository: Repository
let first: string
let second: string

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

async function promote(environment: 'test' | 'prod', digest: string) {
  const api = await kiln.api()
  const { operation } = await api.promote({
    params: { app: 'hello', environment },
    query: {},
    body: { digest: digest as never, reason: 'test' },
  })
  return followed(api, operation)
}

test('a commit becomes a sealed artifact that runs in the first environment', async () => {
  const api = await kiln.api()
  const operation = await delivered(api, repository, await repository.commit('first'))
  first = String(operation.result['digest'])
  await eventually('dev runs the first artifact', 60, async () =>
    (await activeDigest(api, 'hello/dev')) === first ? true : undefined,
  )
  const { address } =
    (await api.environments({})).items.find((one) => one.name === 'hello/dev') ?? {}
  const answer = await fetch(`${address}/`)
  expect(answer.status).toBe(200)
})

test('it is promoted from environment to environment, and not past one', async () => {
  await expect(promote('prod', first)).rejects.toThrow('hello/test has never had')
  await promote('test', first)
  await promote('prod', first)
  const api = await kiln.api()
  expect(await activeDigest(api, 'hello/prod')).toBe(first)
})

test('a second commit goes the same way, and prod comes back to the first digest', async () => {
  const api = await kiln.api()
  await changeGreeting(repository, 'Hello from the second commit')
  const operation = await delivered(api, repository, await repository.commit('second'))
  second = String(operation.result['digest'])
  expect(second).not.toBe(first)
  await eventually('dev runs the second artifact', 60, async () =>
    (await activeDigest(api, 'hello/dev')) === second ? true : undefined,
  )
  await promote('test', second)
  await promote('prod', second)
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
