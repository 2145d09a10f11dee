import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from '../../../scripts/demo/kiln.ts'
import { makeRepository, type Repository } from '../../../scripts/demo/repository.ts'
import { forgeApi, type ForgeApi } from '../../helpers/forge-api.ts'
import { gitServer } from '../../helpers/git-server.ts'
import { githubPush, webhookHeaders } from '../../helpers/webhook-payloads.ts'
import { edit } from '../by-api.ts'
import { eventually, type KilnAtHand } from '../kiln-at-hand.ts'

const gitToken = 'g1t-token-of-the-private-repository'
const statusToken = 'st4tus-token-of-the-private-repository'
const secret = 's3cret-of-the-private-repositorys-webhook'

/** A host with one private repository: git over HTTPS, and the API that commits' statuses are shown by. */
export type Forge = {
  folder: string
  api: ForgeApi
  repository: Repository
  first: string
  /** The repository's address, without its scheme. */
  place: string
  /** What a Kiln needs that knows this host, and looks at repositories only when it is told to. */
  settings: Readonly<Record<string, string>>
  close: () => Promise<void>
}

export async function privateForge(): Promise<Forge> {
  const folder = await mkdtemp(join(tmpdir(), 'kiln-forge-'))
  const repository = await makeRepository(join(folder, 'private'), join(root, 'examples/site'))
  await edit(repository, 'kiln.yaml', (text) => text.replace('app: site', 'app: private'))
  const first = await repository.commit('first')
  await mkdir(join(folder, 'acme'))
  await symlink(join(folder, 'private/.git'), join(folder, 'acme/hello.git'))
  const server = await gitServer({
    repositories: folder,
    folder,
    host: '127.0.0.1',
    password: () => gitToken,
  })
  const api = await forgeApi('github', statusToken)
  return {
    folder,
    api,
    repository,
    first,
    place: `127.0.0.1:${server.port}/acme/hello`,
    settings: {
      KILN_GIT_HOSTS: '127.0.0.1',
      KILN_WATCH_SECONDS: '86400',
      KILN_PUBLIC_ADDRESS: 'https://kiln.example.org',
      GIT_SSL_CAINFO: server.certificate,
    },
    async close() {
      await server.close()
      await api.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

type Given = { kiln: KilnAtHand; forge: Forge }

async function deliver(
  { kiln, forge: { place } }: Given,
  after: string,
  more: { id?: string; key?: string; branch?: string } = {},
) {
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

const shown = ({ forge }: Given, commit: string) =>
  forge.api.statuses.filter((one) => one.commit === commit).map(({ state }) => state)

/** Once it serves in dev and the forge shows the end of it: all that the forge was told. */
async function deliveredAndShown(given: Given, commit: string): Promise<string[]> {
  const api = await given.kiln.api()
  await eventually(`dev has ${commit}`, 180, async () => {
    const { items } = await api.environments({})
    const dev = items.find((one) => one.name === 'private/dev')
    return dev?.active?.commit === commit ? true : undefined
  })
  await eventually('its status is shown', 60, async () =>
    shown(given, commit).at(-1) === 'success' ? true : undefined,
  )
  return shown(given, commit)
}

/** A private repository of a forge: watched once, then told of by webhooks alone. */
export function webhookStory(given: () => Given): void {
  test('a private repository is added by its files and watched; its first commit is built', async () => {
    const { kiln, forge } = given()
    const { folder, place } = forge
    const files = { git: gitToken, status: statusToken, webhook: secret }
    for (const [name, text] of Object.entries(files))
      await writeFile(join(folder, name), `${kiln.plant(name, text)}\n`, { mode: 0o600 })
    const address = `https://${place}.git`
    const secrets = ['--token-file', 'git', '--webhook-secret-file', 'webhook']
    const named = [...secrets, '--status-token-file', 'status'].map((one) =>
      one.startsWith('--') ? one : join(folder, one),
    )
    const forgeOf = ['--forge', 'github', '--api', forge.api.address]
    await kiln.cli('repository', 'add', address, ...named, ...forgeOf)
    const api = await kiln.api()
    await api.startWatch({ body: { repository: address } })
    expect(await deliveredAndShown(given(), forge.first)).toEqual(['pending', 'success'])
  })

  test('a wrong signature changes nothing; a right one is built, runs and is shown', async () => {
    const { kiln, forge } = given()
    await edit(forge.repository, 'public/index.html', (text) =>
      text.replace('Hello from a site', 'Hello by webhook'),
    )
    const second = await forge.repository.commit('second')
    expect((await deliver(given(), second, { key: `${secret}x` })).status).toBe(401)
    const api = await kiln.api()
    expect((await api.webhooks({ query: {} })).items).toEqual([])
    const sent = await deliver(given(), second)
    expect(sent).toMatchObject({ status: 202, json: { result: 'looking' } })
    expect(await deliveredAndShown(given(), second)).toEqual(['pending', 'success'])
    expect(forge.api.odd).toEqual([])
    expect((await deliver(given(), second, { id: sent.id })).json).toMatchObject({
      result: 'already-taken',
    })
    await eventually('the delivery is settled', 60, async () => {
      const { items } = await api.webhooks({ query: {} })
      return items[0]?.result === 'looked' ? true : undefined
    })
  })

  test('a commit that is on no branch is refused on record, an older one moves nothing back', async () => {
    const { kiln, forge } = given()
    const api = await kiln.api()
    const before = (await api.operations({ query: {} })).items.map(({ id }) => id)
    const settled = async (id: string, result: string) =>
      eventually(`${id} is settled`, 60, async () => {
        const { items } = await api.webhooks({ query: {} })
        return items.find((one) => one.delivery === id && one.result === result)
      })
    const evil = await deliver(given(), 'e'.repeat(40))
    expect((await settled(evil.id, 'refused')).message).toContain('nothing is built')
    const late = await deliver(given(), forge.first)
    expect((await settled(late.id, 'looked')).message).toContain('has moved on')
    expect((await api.operations({ query: {} })).items.map(({ id }) => id)).toEqual(before)
    expect(await kiln.cli('webhook', 'list')).toContain(evil.id)
  })

  test('no token and no secret stands in a log, a record or an answer', async () => {
    const { kiln, forge } = given()
    const { folder, place } = forge
    const kept: string[] = []
    for (const name of ['server', 'build', 'host', 'signer', 'temporal'])
      kept.push(
        await readFile(join(kiln.folder, 'home/logs', `${name}.log`), 'utf8').catch(() => ''),
      )
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
}
