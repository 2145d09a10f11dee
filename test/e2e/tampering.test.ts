import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { changeGreeting, type Repository } from '../../scripts/demo/repository.ts'
import type { Client } from '../../src/api/client.ts'
import { createDocker } from '../../src/docker/client.ts'
import type { DriftCause } from '../../src/domain/statement.ts'
import { startLoad, type LoadClient, type LoadReport } from '../helpers/load-client.ts'
import { here, run, work } from './command.ts'
import { activeInDev, edit, promoted, withCalmLoad } from './by-api.ts'
import { activeDigest, delivered, ended, eventually, kilnAtHand } from './kiln-at-hand.ts'
import type { KilnAtHand } from './kiln-at-hand.ts'
import { changesOf, containersOf, onRecord, type Container } from './record.ts'
import { crashing, driftStory } from './stories/drift.ts'

const docker = createDocker({ socketPath: '/var/run/docker.sock' })
let kiln: KilnAtHand
let api: Client
let repository: Repository
let address: string
let first: string
let second: string

beforeAll(async () => {
  kiln = await kilnAtHand({ KILN_KEEP_HISTORIES: '3' })
  await kiln.up()
  api = await kiln.api()
  repository = await kiln.repository()
  await withCalmLoad(repository)
  // What a paused instance has under way is waited for as long as this.
  await edit(repository, 'kiln.yaml', (text) => text.replaceAll('drain: 10s', 'drain: 3s'))
  first = await toDev('first')
  for (const environment of ['test', 'prod']) await promoted(api, `hello/${environment}`, first)
  second = await toDev('second')
  address = String((await prod()).address)
}, 240_000)

afterAll(async () => {
  await kiln.remove()
}, 120_000)

function prod() {
  return api.environment({ params: { app: 'hello', environment: 'prod' } })
}

/** A commit's artifact, active in dev. */
async function toDev(message: string): Promise<string> {
  await changeGreeting(repository, message)
  return activeInDev(api, repository, await repository.commit(message))
}

async function inProd(): Promise<Container[]> {
  const all = await containersOf(kiln)
  return all
    .filter((one) => one.name.includes('.hello.prod.'))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** What prod's last activation adopted runs, all of it, and nothing else. */
async function whole(count: number): Promise<Container[]> {
  return eventually(`${count} instances serve`, 60, async () => {
    const { open, running } = await prod()
    const found = await inProd()
    const ids = running.map((one) => one.id).toSorted()
    const same =
      found
        .map((one) => one.id)
        .toSorted()
        .join() === ids.join()
    const alive = found.every((one) => one.state === 'running')
    return open === null && same && alive && ids.length === count ? found : undefined
  })
}

function load(): LoadClient {
  return startLoad(address, { path: '/work', connections: 2, pauseMs: 10 })
}

/** Requests sent now reach every instance, and none fails. */
async function servesAll(count: number): Promise<LoadReport> {
  const report = await startLoad(address, {
    path: '/work',
    connections: 4,
    maxRequests: 100,
  }).stop()
  expect(report).toMatchObject({ failed: 0, errors: [] })
  expect(Object.keys(report.perInstance)).toHaveLength(count)
  return report
}

const byId = ({ id }: Container) => docker.getContainer(id)
const short = (digest: string) => digest.slice('sha256:'.length, 'sha256:'.length + 12)

/** Another sealed artifact's container with more rights, under the instance's own name and with all of its labels. */
async function impersonate(victim: Container): Promise<void> {
  const { Config, NetworkSettings } = await byId(victim).inspect()
  const [network = ''] = Object.keys(NetworkSettings.Networks)
  const [other] = (await containersOf(kiln)).filter((one) => one.digest === second)
  await byId(victim).remove({ force: true })
  const intruder = await docker.createContainer({
    name: victim.name,
    Image: (await byId(other ?? victim).inspect()).Image,
    Labels: Config.Labels,
    HostConfig: { NetworkMode: network, CapAdd: ['SYS_ADMIN'], Binds: ['/etc:/host:ro'] },
  })
  await intruder.start()
}

async function joinOther(victim: Container): Promise<void> {
  const made = { Name: `${kiln.host}-other`, Labels: { 'kiln.host': kiln.host } }
  const network = await docker.createNetwork(made)
  await network.connect({ Container: victim.id })
}

/** On a busy machine the kernel may not stop all of a container's threads in the time that runc gives it. */
function pause(victim: Container): Promise<true> {
  return eventually('it is paused', 60, () =>
    byId(victim)
      .pause()
      .then(
        () => true as const,
        (error: Error) => {
          if (error.message.includes('unable to freeze')) return undefined
          throw error
        },
      ),
  )
}

async function runInside(victim: Container): Promise<void> {
  const exec = await byId(victim).exec({ Cmd: ['node', '--eval', '0'] })
  await exec.start({ Detach: true })
}

/** A person is let in, works in it, and goes on being let in until the time is over. */
async function letIn(victim: Container): Promise<void> {
  const asked = [victim.name, '--reason', 'it hangs', '--ttl', '5s', '--json']
  const said = await here(kiln, 'break-glass', ...asked)
  expect(said).toMatchObject({ exitCode: 0 })
  const { until } = JSON.parse(said.stdout) as { until: string }
  await runInside(victim)
  expect((await here(kiln, 'status')).stderr).toMatch(/^ALARM hello\/prod: .*it hangs/m)
  const [leave] = (await onRecord(kiln)).of('break-glass')
  expect(leave?.body).toMatchObject({ instance: victim.name, until, requestedBy: 'token' })
  await eventually('its time is over', 20, async () => Date.now() > Date.parse(until) || undefined)
  // The host looks every half minute by itself.
  await here(kiln, 'scan', 'prod')
}

async function scaled(count: number): Promise<void> {
  const traffic = load()
  const { exitCode, operation } = await work(kiln, 'scale', 'prod', String(count))
  expect({ exitCode, state: operation.state }).toEqual({ exitCode: 0, state: 'succeeded' })
  expect(await traffic.stop()).toMatchObject({ failed: 0, errors: [] })
  await whole(count)
  await servesAll(count)
  const [last] = (await changesOf(kiln, 'hello/prod')).slice(-1)
  expect(last?.map((fact) => fact.kind)).toEqual(['change', 'activation'])
  expect(last?.[0]?.body).toMatchObject({ changeKind: 'scale', instances: count })
}

test('scale is a change without a key: more instances, up to as many as kiln.yaml allows', async () => {
  const { active } = await prod()
  await scaled(4)
  expect((await prod()).active).toEqual(active)
  const many = await work(kiln, 'scale', 'prod', '5')
  expect(many.exitCode).toBe(5)
  expect(many.operation.failure?.message).toContain('may have 2 to 4 instances, not 5')
})

describe('instances of prod', () => {
  type Tampering = {
    what: string
    /** On a busy machine the moment between two events is long enough to be seen by itself. */
    causes: readonly DriftCause[]
    /** What the record says was found. */
    says?: string
    tamper: (victim: Container) => Promise<unknown>
  }
  /** Each is done to another instance, all at once; a fourth instance is left alone. */
  const atOnce: readonly (readonly Tampering[])[] = [
    [
      { what: 'stopped', causes: ['stopped'], tamper: (one) => byId(one).stop({ t: 1 }) },
      { what: 'removed', causes: ['removed'], tamper: (one) => byId(one).remove({ force: true }) },
      { what: 'paused', causes: ['paused'], tamper: pause },
    ],
    [
      {
        what: 'restarted',
        causes: ['restarted', 'stopped'],
        tamper: (one) => byId(one).restart({ t: 1 }),
      },
      {
        what: 'exchanged for another digest',
        causes: ['foreign'],
        says: 'CapAdd is ["SYS_ADMIN"], not nothing',
        tamper: impersonate,
      },
      {
        what: 'entered by a process',
        causes: ['process'],
        says: ': node',
        tamper: runInside,
      },
    ],
    [
      {
        what: 'joined to another network',
        causes: ['network'],
        says: '-other was added',
        tamper: joinOther,
      },
      {
        what: 'given a higher limit',
        causes: ['settings'],
        says: 'PidsLimit is 999, not 64',
        tamper: (one) => byId(one).update({ PidsLimit: 999 }),
      },
    ],
    // By itself: no change of another's keeps it.
    [
      {
        what: 'opened by break-glass until its time was over',
        causes: ['break-glass'],
        says: 'token was let in at',
        tamper: letIn,
      },
    ],
  ]
  const cases = atOnce.map((tamperings) => ({
    what: tamperings.map((one) => one.what).join(' / '),
    tamperings,
  }))

  test.each(cases)(
    '$what by hand are replaced, each with its own reason on record',
    async ({ tamperings }) => {
      const instances = await whole(4)
      const victims = instances.slice(0, tamperings.length)
      const others = instances.slice(tamperings.length).map(({ id }) => id)
      const known = (await onRecord(kiln)).of('drift').length
      const changes = (await changesOf(kiln, 'hello/prod')).length
      const traffic = load()
      await Promise.all(victims.map(async (victim, index) => tamperings[index]?.tamper(victim)))
      const replaced = await eventually('every one is replaced', 60, async () => {
        const { open, running } = await prod()
        const ids = running.map(({ id }) => id)
        const old = victims.some(({ id }) => ids.includes(id))
        return open === null && !old ? ids : undefined
      })
      expect(replaced).toHaveLength(4)
      const after = (await whole(4)).map(({ id }) => id)
      const { ok } = await traffic.stop()
      expect(ok).toBeGreaterThan(0)
      // The untouched ones served on; the others are new containers.
      expect(after).toEqual(expect.arrayContaining(others))
      for (const { id } of victims) expect(after).not.toContain(id)
      const digests = (await inProd()).map((one) => one.digest)
      expect(new Set(digests)).toEqual(new Set([first]))

      const { ledger, of } = await onRecord(kiln)
      const drifts = of('drift').slice(known)
      for (const [index, { causes, says = '' }] of tamperings.entries()) {
        const told = drifts.filter(({ body }) => body.instance === victims[index]?.name)
        expect(told.map(({ body }) => body.environment)).toContain('hello/prod')
        expect(
          told.filter(({ body }) => causes.includes(body.cause) && body.found.includes(says)),
        ).not.toEqual([])
      }
      // What is seen at two times is two changes, and the last may still run.
      const made = (await changesOf(kiln, 'hello/prod')).slice(changes)
      for (const [change] of made)
        expect(change?.body).toMatchObject({ changeKind: 'replacement', requestedBy: 'kiln' })
      const [, activation] = made.findLast((facts) => facts.length > 1) ?? []
      expect(activation).toMatchObject({ kind: 'activation', body: { outcome: 'active' } })
      expect(ledger.void.size).toBe(0)
      await servesAll(4)
      const row = await eventually('history says so', 30, async () => {
        const [newest = ''] = (await here(kiln, 'history', 'prod', '--limit', '1')).stdout.split(
          '\n',
        )
        return newest.includes('\treplacement\tactive\t') ? newest : undefined
      })
      expect(victims.some(({ name }) => row.includes(name))).toBe(true)
    },
  )
})

test('scale back: fewer instances of the same artifact', async () => {
  const { active } = await prod()
  await scaled(2)
  expect((await prod()).active).toEqual(active)
})

test('a rollback stays rolled back until it is released, and history says who and why', async () => {
  await promoted(api, 'hello/test', second)
  await promoted(api, 'hello/prod', second)
  const back = await work(kiln, 'rollback', 'prod', '--previous', '--reason', 'it answers nonsense')
  expect(back).toMatchObject({ exitCode: 0, operation: { state: 'succeeded' } })
  expect(await activeDigest(api, 'hello/prod')).toBe(first)
  const [row = ''] = (await run(kiln, 'history', 'prod', '--limit', '1')).stdout.split('\n')
  const [, kind, outcome, key, to, from, , by, , reason] = row.split('\t')
  expect({ kind, outcome, key, to, from, by, reason }).toEqual({
    kind: 'rollback',
    outcome: 'active',
    key: '3',
    to: short(first),
    from: short(second),
    by: 'token',
    reason: 'it answers nonsense',
  })

  expect((await work(kiln, 'rollback', 'dev', '--to', short(first))).exitCode).toBe(0)
  await changeGreeting(repository, 'third')
  const built = await delivered(api, repository, await repository.commit('third'))
  const refused = await ended(api, { id: String(built.result['change']) })
  expect(refused).toMatchObject({ state: 'refused', result: { rule: 'held' } })
  expect(await activeDigest(api, 'hello/dev')).toBe(first)
  expect((await here(kiln, 'environments')).stdout).toMatch(/^hello\/dev\t.*held by token/m)

  expect((await work(kiln, 'release', 'dev', '--reason', 'mended')).exitCode).toBe(0)
  expect((await work(kiln, 'release', 'dev')).exitCode).toBe(5)
  // The next one arrives, and is what the story below is about.
  await crashing(repository)
  await toDev('fourth')
  const { of } = await onRecord(kiln)
  expect(of('release').map((fact) => fact.body)).toMatchObject([
    { environment: 'hello/dev', reason: 'mended', requestedBy: 'token' },
  ])
})

driftStory(() => ({ kiln, api, good: first }))
