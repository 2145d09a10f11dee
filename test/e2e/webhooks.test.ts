import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root } from '../../scripts/demo/kiln.ts'
import { changeGreeting, makeRepository, type Repository } from '../../scripts/demo/repository.ts'
import { forgeApi, type ForgeApi } from '../helpers/forge-api.ts'
import { gitServer, type GitServer } from '../helpers/git-server.ts'
import { githubPush, webhookHeaders } from '../helpers/webhook-payloads.ts'
import { eventually, kilnAtHand, type KilnAtHand } from './kiln-at-hand.ts'

const gitToken = 'g1t-token-of-the-private-repository'
const statusToken = 'st4tus-token-of-the-private-repository'
const secret = 's3cret-of-the-private-repositorys-webhook'
let kiln: KilnAtHand
let folder: string
let server: GitServer
let forge: ForgeApi
let repository: Repository
let first: string
let place: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kiln-forge-'))
  repository = await makeRepository(join(folder, 'hello'), join(root, 'examples/hello'))
  first = await repository.commit('first')
  await mkdir(join(folder, 'acme'))
  await symlink(join(folder, 'hello/.git'), join(folder, 'acme/hello.git'))
  server = await gitServer({
    repositories: folder,
    folder,
    host: '127.0.0.1',
    password: () => gitToken,
  })
  forge = await forgeApi('github', statusToken)
  kiln = await kilnAtHand({
    KILN_GIT_HOSTS: '127.0.0.1',
    KILN_WATCH_SECONDS: '86400',
    KILN_PUBLIC_ADDRESS: 'https://kiln.example.org',
    GIT_SSL_CAINFO: server.certificate,
  })
  place = `127.0.0.1:${server.port}/acme/hello`
  await kiln.up()
}, 180_000)
afterAll(async () => {
  await kiln.remove()
  await server.close()
  await forge.close()
  await rm(folder, { recursive: true, force: true })
}, 120_000)

async function deliver(after: string, more: { id?: string; key?: string; branch?: string } = {}) {
  const { id = randomUUID(), key = secret, branch = 'main' } = more
  const push = githubPush({ place, after, ref: `refs/heads/${branch}` })
  const body = JSON.stringify(push)
  const answer = await fetch(`http://127.0.0.1:${kiln.env['KILN_API_PORT']}/webhooks/github`, {
    method: 'POST',
    headers: webhookHeaders('github', { body, secret: key, id }),
    body,
  })
  return { id, status: answer.status, json: (await answer.json()) as Record<string, unknown> }
}

const shown = (commit: string) =>
  forge.statuses.filter((one) => one.commit === commit).map(({ state }) => state)

async function active(commit: string): Promise<true> {
  const api = await kiln.api()
  return eventually(`dev has ${commit}`, 180, async () => {
    const { items } = await api.environments({})
    const dev = items.find((one) => one.name === 'hello/dev')
    return dev?.active?.commit === commit ? true : undefined
  })
}

test('a private repository is added by its files and watched; its first commit is built', async () => {
  const files = { git: gitToken, status: statusToken, webhook: secret }
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), `${text}\n`, { mode: 0o600 })
  const address = `https://${place}.git`
  const secrets = ['--token-file', 'git', '--webhook-secret-file', 'webhook']
  const named = [...secrets, '--status-token-file', 'status'].map((one) =>
    one.startsWith('--') ? one : join(folder, one),
  )
  const forgeOf = ['--forge', 'github', '--api', forge.address]
  await kiln.cli('repository', 'add', address, ...named, ...forgeOf)
  const api = await kiln.api()
  await api.startWatch({ body: { repository: address } })
  await active(first)
  await eventually('its status is shown', 60, async () =>
    shown(first).at(-1) === 'success' ? true : undefined,
  )
  expect(shown(first)).toEqual(['pending', 'success'])
})

test('a wrong signature changes nothing; a right one is built, runs and is shown', async () => {
  await changeGreeting(repository, 'Hello by webhook')
  const second = await repository.commit('second')
  expect((await deliver(second, { key: `${secret}x` })).status).toBe(401)
  const api = await kiln.api()
  expect((await api.webhooks({ query: {} })).items).toEqual([])
  const sent = await deliver(second)
  expect(sent).toMatchObject({ status: 202, json: { result: 'looking' } })
  await active(second)
  await eventually('its status is shown', 60, async () =>
    shown(second).at(-1) === 'success' ? true : undefined,
  )
  expect(shown(second)).toEqual(['pending', 'success'])
  expect(forge.odd).toEqual([])
  expect((await deliver(second, { id: sent.id })).json).toMatchObject({ result: 'already-taken' })
  await eventually('the delivery is settled', 60, async () => {
    const { items } = await api.webhooks({ query: {} })
    return items[0]?.result === 'looked' ? true : undefined
  })
})

test('a commit that is on no branch is refused on record, an older one moves nothing back', async () => {
  const api = await kiln.api()
  const before = (await api.operations({ query: {} })).items.map(({ id }) => id)
  const settled = async (id: string, result: string) =>
    eventually(`${id} is settled`, 60, async () => {
      const { items } = await api.webhooks({ query: {} })
      return items.find((one) => one.delivery === id && one.result === result)
    })
  const evil = await deliver('e'.repeat(40))
  expect((await settled(evil.id, 'refused')).message).toContain('nothing is built')
  const late = await deliver(first)
  expect((await settled(late.id, 'looked')).message).toContain('has moved on')
  expect((await api.operations({ query: {} })).items.map(({ id }) => id)).toEqual(before)
  expect(await kiln.cli('webhook', 'list')).toContain(evil.id)
})

test('no token and no secret stands in a log, a record or an answer', async () => {
  const kept: string[] = []
  for (const name of ['server', 'build', 'host', 'signer', 'temporal'])
    kept.push(await readFile(join(kiln.folder, 'home/logs', `${name}.log`), 'utf8').catch(() => ''))
  for (const name of ['temporal.db', 'temporal.db-wal'])
    kept.push(await readFile(join(kiln.folder, 'home/temporal', name), 'latin1').catch(() => ''))
  kept.push(await readFile(join(kiln.folder, 'home/repositories.yaml'), 'utf8'))
  kept.push(JSON.stringify(await (await kiln.api()).webhooks({ query: {} })))
  const all = kept.join('\n')
  // The control: what is no secret is found, in the histories and in the file.
  expect(kept.slice(5, 7).join('')).toContain(place)
  expect(all).toContain(join(folder, 'webhook'))
  for (const one of [gitToken, statusToken, secret]) expect(all).not.toContain(one)
})
