import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from '../../src/api/client.ts'
import { shortDigest, type Digest } from '../../src/domain/digest.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { eventually, followed, kilnAt, root } from './kiln.ts'
import { startLoad, type Counted } from './load.ts'
import { changeGreeting, makeRepository } from './repository.ts'
import { endAll, lockedTemplates, lockTemplates, makeHome } from './stage.ts'

/**
 * The whole loop on real parts: a commit becomes a signed artifact, reaches production by replacement
 * under load, and comes back. Exits with 1 if anything of it did not hold. `--keep` leaves Kiln running.
 */

const keep = process.argv.includes('--keep')
const home = join(root, '.kiln-demo')
const repositoryPath = join(home, 'repository')
const host = 'demo'
const kiln = kilnAt(home, {
  KILN_API_PORT: '7600',
  KILN_HOST: host,
  KILN_REPOSITORIES: repositoryPath,
  KILN_TEMPLATES: lockedTemplates,
})
const started = Date.now()
const times: { what: string; ms: number }[] = []

function say(line: string): void {
  process.stdout.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}\n`)
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const begin = Date.now()
  const result = await work()
  const ms = Date.now() - begin
  times.push({ what, ms })
  say(`${what}: ${(ms / 1000).toFixed(1)} s`)
  return result
}

/** An earlier demo may still run, or have left instances: they go, and its home with them. */
async function clearAway(): Promise<void> {
  await endAll(kiln, host)
  await rm(home, { recursive: true, force: true })
}

/** What was going on when something did not hold; the logs stay until the next demo. */
async function explain(): Promise<void> {
  const api = await kiln.api()
  const { items } = await api.operations({ params: {}, query: { limit: 20 } })
  for (const { id, state, steps, failure } of items) {
    const at = steps.at(-1)
    say(`  ${id}: ${state}, ${at?.name ?? 'no step yet'} ${at?.state ?? ''} ${at?.detail ?? ''}`)
    if (failure !== null) say([`    ${failure.message}`, ...failure.lines].join('\n    '))
  }
  const { items: watches } = await api.watches({})
  for (const { repository, failure } of watches) {
    say(`  watch of ${repository}: ${failure?.message ?? 'nothing wrong'}`)
  }
  say(`  logs: ${join(home, 'logs')}`)
}

async function promote(api: Client, environment: string, digest: Digest): Promise<Operation> {
  const { operation } = await api.promote({
    params: { app: 'hello', environment },
    query: {},
    body: { digest, reason: 'demo' },
  })
  return followed(api, operation)
}

function expectThat(holds: boolean, what: string): void {
  if (!holds) throw new Error(`this did not hold: ${what}`)
}

/** The repository is watched: a commit triggers everything, nobody asks for a build. */
async function watch(api: Client): Promise<void> {
  await api.startWatch({
    params: {},
    query: {},
    body: { repository: repositoryPath, branches: ['main'] },
  })
}

async function delivered(api: Client, commit: string): Promise<Digest> {
  const item = await eventually(`the watch delivers ${commit}`, 120, async () => {
    const { items } = await api.artifacts({ params: {}, query: { app: 'hello' } })
    return items.find((one) => one.commit === commit)
  })
  await eventually(`hello/dev runs ${item.digest}`, 60, async () => {
    const { active } = await api.environment({ params: { app: 'hello', environment: 'dev' } })
    return active?.digest === item.digest ? true : undefined
  })
  return item.digest
}

async function loop(api: Client): Promise<Counted> {
  const repository = await makeRepository(repositoryPath, join(root, 'examples/hello'))
  const firstCommit = await repository.commit('Say hello')
  await watch(api)
  const first = await timed('first commit: built, sealed, running in dev', () =>
    delivered(api, firstCommit),
  )
  await timed('promotion to test', () => promote(api, 'test', first))
  await timed('promotion to prod (two instances)', () => promote(api, 'prod', first))
  const { address } = await api.environment({ params: { app: 'hello', environment: 'prod' } })
  const load = startLoad(address ?? '', 300)
  try {
    await changeGreeting(repository, 'Hello from the second commit')
    const secondCommit = await repository.commit('Say hello again')
    const second = await timed('second commit: built, sealed, running in dev', () =>
      delivered(api, secondCommit),
    )
    expectThat(first !== second, 'another commit is another artifact')
    await timed('promotion to test', () => promote(api, 'test', second))
    await timed('promotion to prod, under load', () => promote(api, 'prod', second))
    const { operation } = await api.rollback({
      params: { app: 'hello', environment: 'prod' },
      query: {},
      body: { reason: 'demo' },
    })
    await timed('rollback of prod, under load', () => followed(api, operation))
    const prod = await api.environment({ params: { app: 'hello', environment: 'prod' } })
    expectThat(prod.active?.digest === first, 'prod is back at the first digest')
    expectThat(prod.hold !== null, 'a rollback holds its environment')
  } catch (error) {
    await load.stop().catch(() => undefined)
    throw error
  }
  return load.stop()
}

async function tell(api: Client, counted: Counted): Promise<void> {
  const { items } = await api.environments({})
  say('')
  say('environment   key  epoch  digest        commit')
  for (const { name, active, epoch } of items) {
    if (active === null) continue
    const row = [name.padEnd(13), String(active.sequence).padEnd(4), String(epoch).padEnd(6)]
    say(
      `${row.join(' ')} ${shortDigest(active.digest)}  ${active.commit.slice(0, 12)} ${active.subject}`,
    )
  }
  say('')
  for (const { what, ms } of times) say(`${(ms / 1000).toFixed(1).padStart(5)} s  ${what}`)
  say('')
  say(`requests to prod: ${counted.sent} sent, ${counted.failed} failed`)
  say(`ledger:       ${join(home, 'store')}`)
  say(`public keys:  ${join(home, 'trust')}`)
  const verified = JSON.parse(await kiln.cli('verify', 'hello/prod', '--json')) as {
    command: string
  }
  say('what runs in prod, checked with cosign instead of Kiln:')
  process.stdout.write(`\n${verified.command}\n\n`)
  if (keep) {
    say(`Kiln runs at ${await kiln.address()}; KILN_HOME=${home}`)
    for (const { name, address } of items) say(`  ${name}: ${address}`)
  }
}

async function demo(): Promise<void> {
  say('clearing away what an earlier demo left')
  await clearAway()
  await timed('templates locked on this machine', lockTemplates)
  await makeHome(home)
  await timed('kiln up', () => kiln.cli('up'))
  const api = await kiln.api()
  const counted = await loop(api)
  await tell(api, counted)
  expectThat(
    counted.sent > 0 && counted.failed === 0,
    `no request failed: ${counted.errors.join('; ')}`,
  )
}

try {
  await demo()
  say('everything held')
} catch (error) {
  say(`FAILED: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
  await explain().catch((cause: unknown) => say(`  Kiln does not tell more: ${String(cause)}`))
} finally {
  const end = process.exitCode === 1 ? () => endAll(kiln, host) : clearAway
  if (!keep) await end().catch((error: unknown) => say(`could not clear away: ${String(error)}`))
}
