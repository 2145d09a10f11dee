import { execa } from 'execa'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTcpProxy, type TcpProxy } from '../../scripts/chaos/tcp-proxy.ts'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import { admissible } from '../../src/domain/ledger.ts'
import { startLoad } from '../helpers/load-client.ts'
import { activeInDev, edit, withCalmLoad } from './by-api.ts'
import { here, work } from './command.ts'
import { activeDigest, ended, eventually, freePorts, kilnAtHand } from './kiln-at-hand.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'
import { changesOf, containersOf, onRecord, standing } from './record.ts'
import { refusalStory } from './stories/refusals.ts'

let kiln: KilnAtHand
let api: Client
let repository: Repository
let first: string
/** Between the host and what the server says of the log. */
let line: TcpProxy

beforeAll(async () => {
  const port = await freePorts()
  line = await startTcpProxy({ host: '127.0.0.1', port })
  kiln = await kilnAtHand({
    KILN_API_PORT: String(port),
    KILN_SERVER: `http://127.0.0.1:${line.port}`,
  })
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
  await withCalmLoad(repository)
  first = await activeInDev(api, repository, await repository.commit('first'))
}, 180_000)

afterAll(async () => {
  await kiln.remove()
  await line.close()
}, 120_000)

describe('what is refused before it is an artifact', () => {
  refusalStory(() => ({ kiln, api, repository }))
})

describe('a refused change', () => {
  test('of a digest that the environment before has not proved is on record', async () => {
    const before = await standing(kiln)
    const { exitCode, operation } = await work(kiln, 'promote', 'hello/prod', first)
    expect(exitCode).toBe(5)
    const rule = 'not-proved-in-previous-environment'
    expect(operation).toMatchObject({
      state: 'refused',
      result: { rule },
      failure: { code: 'refused', place: rule, fix: `kiln promote hello/test ${first}` },
    })
    const [refusal] = (await onRecord(kiln)).of('refusal').slice(-1)
    expect(refusal).toMatchObject({
      artifact: first,
      body: { environment: 'hello/prod', rule, change: operation.id, requestedBy: 'token' },
    })
    expect(await standing(kiln)).toEqual(before)
  })

  test('back, where there is nothing to go back to, is on record', async () => {
    const before = await standing(kiln)
    const said = await here(kiln, 'rollback', 'hello/dev', '--previous')
    expect(said.exitCode).toBe(5)
    expect(said.stderr).toContain('hello/dev has no earlier good artifact to return to')
    const { operation } = await api.rollback({
      params: { app: 'hello', environment: 'dev' },
      query: {},
      body: { reason: 'nothing there' },
    })
    const rule = 'nothing-to-roll-back-to'
    expect(await ended(api, operation)).toMatchObject({ state: 'refused', result: { rule } })
    const [refusal] = (await onRecord(kiln)).of('refusal').slice(-1)
    expect(refusal?.body).toMatchObject({ rule, change: operation.id })
    expect(await standing(kiln)).toEqual(before)
    const silent = await here(kiln, 'rollback', 'hello/dev')
    expect(silent.exitCode).toBe(2)
    expect(silent.stderr).toContain('--previous')
  })
})

describe('the API', () => {
  const digest = `sha256:${'0'.repeat(64)}`

  test.each([
    ['no token', 'GET', '/api/v1/status', 401, 'unauthenticated', { token: 'none' }],
    ['another token', 'GET', '/openapi.json', 401, 'unauthenticated', { token: 'wrong'.repeat(9) }],
    ['no such environment', 'GET', '/api/v1/environments/hello/none', 404, 'not_found', {}],
    [
      'a change of none',
      'POST',
      '/api/v1/environments/hello/none/promote',
      404,
      'not_found',
      {
        body: { digest },
      },
    ],
    ['no such operation', 'GET', '/api/v1/operations/change.hello.dev.0', 404, 'not_found', {}],
    [
      'no digest',
      'POST',
      '/api/v1/environments/hello/dev/promote',
      400,
      'invalid_input',
      {
        body: { digest: 'latest' },
      },
    ],
    [
      'a field too many',
      'POST',
      '/api/v1/builds',
      400,
      'invalid_input',
      {
        body: { repository: '/x', revision: 'main', force: true },
      },
    ],
    ['no tile', 'GET', '/api/v1/tile/0/..%2f..%2fhead', 400, 'invalid_input', {}],
  ] as const)('answers %s with its status and code', async (...row) => {
    const [, method, path, status, code, { token, body }] = [...row] as [
      string,
      string,
      string,
      number,
      string,
      { token?: string; body?: unknown },
    ]
    const own = (await readFile(join(kiln.home, 'token'), 'utf8')).trim()
    const answer = await fetch(`${await kiln.address()}${path}`, {
      method,
      headers: {
        ...(token === 'none' ? {} : { authorization: `Bearer ${token ?? own}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    expect(await answer.json()).toMatchObject({ status, code, type: `docs/errors.md#${code}` })
  })
})

test('an instance that never becomes ready: the old one never stops serving', async () => {
  const address = (await api.environment({ params: { app: 'hello', environment: 'dev' } })).address
  const before = await standing(kiln)
  await edit(repository, 'server.js', (text) => text.replace('stopping ? 503 : 200', '503'))
  await edit(repository, 'kiln.yaml', (text) =>
    text.replace('stop:', 'start: { timeout: 2s }\n    stop:'),
  )
  const load = startLoad(String(address), { path: '/work', connections: 2, pauseMs: 10 })
  const built = await work(
    kiln,
    'build',
    `${repository.path}@${await repository.commit('never ready')}`,
  )
  expect(built.exitCode).toBe(0)
  const digest = String(built.operation.result['digest'])
  const automatic = await ended(api, { id: String(built.operation.result['change']) })
  expect(automatic.state).toBe('failed')

  const { exitCode, operation } = await work(
    kiln,
    'promote',
    'hello/dev',
    digest,
    '--reason',
    'again',
  )
  expect(exitCode).toBe(1)
  expect(operation).toMatchObject({ state: 'failed', failure: { code: 'change_failed' } })
  const { sent, failed, errors } = await load.stop()
  expect({ failed, errors }).toEqual({ failed: 0, errors: [] })
  expect(sent).toBeGreaterThan(100)

  const { ledger, of } = await onRecord(kiln)
  const [activation] = of('activation').slice(-1)
  expect(activation?.body).toMatchObject({
    environment: 'hello/dev',
    outcome: 'failed',
    serving: { digest: first },
    failure: { code: 'change_failed' },
  })
  // Two keys were issued for it, and neither admits it.
  expect(of('key').filter((key) => key.body.digest === digest)).toHaveLength(2)
  expect(admissible(ledger, 'hello/dev').map((one) => one.digest)).toEqual([first])
  expect(await pull(digest)).toEqual({ host: 403, reader: 200 })
  const after = await standing(kiln)
  expect(after.containers).toEqual(before.containers)
  expect(after.void).toBe(0)
  const tile = await here(kiln, 'environments')
  expect(tile.stdout).toContain('FAILED promotion: change_failed')
})

test('promotions at once: one after the other or superseded, each with exactly one outcome', async () => {
  await execa('git', ['checkout', '--quiet', 'HEAD^', '--', '.'], { cwd: repository.path })
  await changeGreeting(repository, 'second')
  const second = await activeInDev(api, repository, await repository.commit('second'))
  await changeGreeting(repository, 'third')
  const third = await activeInDev(api, repository, await repository.commit('third'))
  const before = (await changesOf(kiln, 'hello/dev')).length
  const wishes = [first, second, third, first, second, third]
  const answers = await Promise.all(
    wishes.map((digest) =>
      api.promote({
        params: { app: 'hello', environment: 'dev' },
        query: {},
        body: { digest: digest as never, reason: 'at once' },
      }),
    ),
  )
  const ends = await Promise.all(answers.map(({ operation }) => ended(api, operation)))
  const states = ends.map((one) => one.state)
  expect(
    states.filter((state) => !['succeeded', 'unchanged', 'superseded'].includes(state)),
  ).toEqual([])
  expect(states).toContain('superseded')

  // In log order: a change, its key, its outcome, and only then the next change.
  const changes = (await changesOf(kiln, 'hello/dev')).slice(before)
  expect(changes.length).toBe(states.filter((state) => state === 'succeeded').length)
  for (const one of changes)
    expect(one.map((fact) => fact.kind)).toEqual(['change', 'key', 'activation'])
  const { ledger } = await onRecord(kiln)
  expect(ledger.void.size).toBe(0)
  const active = ledger.environments.get('hello/dev')?.active?.body.digest
  expect(await activeDigest(api, 'hello/dev')).toBe(active)
  const running = (await containersOf(kiln)).filter((one) => one.environment === 'hello/dev')
  expect(running.map((one) => [one.digest, one.state])).toEqual([[active, 'running']])
})

test('what was denied leaves every environment: by replacement that loses no request, or it stops and alarms', async () => {
  await changeGreeting(repository, 'stolen')
  const back = await activeDigest(api, 'hello/dev')
  const stolen = await activeInDev(api, repository, await repository.commit('stolen'))
  expect((await work(kiln, 'promote', 'hello/test', stolen)).exitCode).toBe(0)
  const load = startLoad(await addressOf('dev'), { path: '/work', connections: 2, pauseMs: 10 })
  const { exitCode, operation } = await work(kiln, 'revoke', stolen, '--reason', 'key leaked')
  const { sent, failed, errors } = await load.stop()
  expect({ exitCode, failed, errors }).toEqual({ exitCode: 0, failed: 0, errors: [] })
  expect(sent).toBeGreaterThan(20)
  expect(operation.result).toMatchObject({
    by: 'token',
    reason: 'key leaked',
    'hello/dev': expect.stringContaining(`returned to ${back}`),
    'hello/test': 'stopped: nothing to return to',
  })
  const running = (await containersOf(kiln)).filter((one) => one.state === 'running')
  expect(running.map((one) => [one.environment, one.digest])).toEqual([['hello/dev', back]])
  expect((await fetch(await addressOf('test'))).status).toBe(503)
  expect(await pull(stolen)).toEqual({ host: 403, reader: 200 })
  const { ledger, of } = await onRecord(kiln)
  expect(of('denial').map((fact) => [fact.artifact, fact.body])).toEqual([
    [stolen, { reason: 'key leaked', requestedBy: 'token' }],
  ])
  expect(admissible(ledger, 'hello/test')).toEqual([])
  const key = of('key').findLast(({ body }) => body.environment === 'hello/test')
  const judged = await api.verification({
    params: { app: 'hello', environment: 'test' },
    query: { sequence: key?.body.sequence },
  })
  expect(judged.passed).toBe(false)
  const refusing = judged.checks.filter((one) => !one.passed).map(({ name }) => name)
  expect(refusing).toEqual(expect.arrayContaining(['not denied', 'admissible']))
  expect((await here(kiln, 'status')).stderr).toContain('ALARM hello/test')
  expect((await here(kiln, 'environments')).stdout).toContain('held by token')
  expect((await here(kiln, 'history', 'hello')).stdout).toContain('DENIED by token: key leaked')
  const again = await work(kiln, 'promote', 'hello/test', stolen)
  expect([again.exitCode, again.operation.result]).toEqual([5, { rule: 'denied' }])
  expect((await work(kiln, 'promote', 'hello/test', String(back))).exitCode).toBe(0)
  expect((await here(kiln, 'status')).stderr).not.toContain('ALARM')
})

test('what a stolen promote key signed leaves every environment too, though its artifact is good', async () => {
  const back = String(await activeDigest(api, 'hello/dev'))
  const [key] = (await onRecord(kiln))
    .of('key')
    .filter(({ body }) => body.digest === back)
    .slice(-2)
  expect(key?.body.environment).toBe('hello/dev')
  const { items } = await api.signingKeys({})
  const stolen = items.findLast(({ role }) => role === 'promote')?.fingerprint
  const revoking = ['revoke', String(stolen), '--from', String(key?.index), '--reason', 'stolen']
  const { exitCode, operation } = await work(kiln, ...revoking)
  expect(exitCode).toBe(0)
  const older = await activeDigest(api, 'hello/dev')
  expect(older).not.toBe(back)
  expect(operation.result).toMatchObject({
    artifacts: 0,
    'hello/dev': expect.stringContaining(`returned to ${older}`),
    'hello/test': 'stopped: nothing to return to',
  })
  const running = (await containersOf(kiln)).filter((one) => one.state === 'running')
  expect(running.map((one) => [one.environment, one.digest])).toEqual([['hello/dev', older]])
  expect((await here(kiln, 'status')).stderr).toContain('ALARM hello/test')
  expect((await work(kiln, 'promote', 'hello/test', String(older))).exitCode).toBe(0)
  expect((await here(kiln, 'status')).stderr).not.toContain('ALARM')
})

test('a host that nobody tells how far the log is starts nothing and says so; when it is told, what was asked goes on', async () => {
  const before = await standing(kiln)
  const at = Number(kiln.env['KILN_API_PORT'])
  await line.close()
  // Its memory is wiped too: the word of before would count for a quarter of an hour.
  await rm(join(kiln.home, 'host/freshness'))
  process.kill(await kiln.pid('host'), 'SIGKILL')
  const alarm = /ALARM since .*starts nothing, and what runs goes on: nobody has told it/
  await eventually('the host says so', 60, async () =>
    alarm.test((await here(kiln, 'status')).stderr) ? true : undefined,
  )
  const { operation } = await api.rollback({
    params: { app: 'hello', environment: 'dev' },
    query: {},
    body: { reason: 'cut off' },
  })
  await eventually('the host refused to start it', 60, async () =>
    /"activity":"startInstances".*"not_fresh"/.test(
      await readFile(join(kiln.home, 'logs/host.log'), 'utf8'),
    )
      ? true
      : undefined,
  )
  expect((await standing(kiln)).containers).toEqual(before.containers)
  expect((await fetch(await addressOf('dev'))).status).toBe(200)
  line = await startTcpProxy({ host: '127.0.0.1', port: at }, line.port)
  expect(await ended(api, operation)).toMatchObject({ state: 'succeeded' })
  expect((await standing(kiln)).containers).not.toEqual(before.containers)
  await eventually('the alarm is over', 60, async () =>
    (await here(kiln, 'status')).stderr.includes('ALARM') ? undefined : true,
  )
})

test('a denied base ends all that was built on it, and nothing more is built on it', async () => {
  const { ledger } = await onRecord(kiln)
  const base = ledger.sealed.get(first as never)?.body.template.base
  const named = `${base?.name}@${base?.lock.slice(7, 17)}`
  const { exitCode, operation } = await work(kiln, 'revoke', named, '--reason', 'CVE')
  expect([exitCode, operation.result]).toMatchObject([
    0,
    {
      artifacts: ledger.sealed.size - ledger.denied.size,
      'hello/dev': 'stopped: nothing to return to',
      'hello/test': 'stopped: nothing to return to',
    },
  ])
  const running = (await containersOf(kiln)).filter((one) => one.state === 'running')
  expect(running).toEqual([])
  expect(await pull(first)).toEqual({ host: 403, reader: 200 })
  await changeGreeting(repository, 'on a denied base')
  const commit = await repository.commit('on a denied base')
  const built = await work(kiln, 'build', `${repository.path}@${commit}`)
  expect(built.operation).toMatchObject({
    failure: { code: 'refused', fix: `kiln template lock ${base?.name}, commit and build` },
  })
})

async function addressOf(environment: string): Promise<string> {
  return String((await api.environment({ params: { app: 'hello', environment } })).address)
}

/** What the registry answers the host and a reader about a manifest. */
async function pull(digest: string): Promise<Record<string, number>> {
  const passwords = JSON.parse(
    await readFile(join(kiln.home, 'credentials.json'), 'utf8'),
  ) as Record<string, string>
  const address = `http://127.0.0.1:${Number(kiln.env['KILN_API_PORT']) + 1}/v2/hello/manifests/${digest}`
  const answers = ['host', 'reader'].map(async (who) => {
    const basic = Buffer.from(`${who}:${passwords[who]}`).toString('base64')
    const { status } = await fetch(address, { headers: { authorization: `Basic ${basic}` } })
    return [who, status] as const
  })
  return Object.fromEntries(await Promise.all(answers))
}
