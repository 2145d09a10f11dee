import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import type { Operation } from '../../../src/domain/operation.ts'
import { root } from '../../../scripts/demo/kiln.ts'
import { makeRepository, type Repository } from '../../../scripts/demo/repository.ts'
import { activeDigest, ended, eventually, type KilnAtHand } from '../kiln-at-hand.ts'

const appYaml = (name: string, template = 'static-site') => `version: 1
app: ${name}
template: ${template}
environments:
  - name: dev
    readiness: { path: /ready, interval: 200ms, timeout: 1s }
    resources: { memory: 128Mi, cpus: 0.5, pids: 64 }
`

const rootYaml = (more: string) => `version: 1
apps:
  - path: sites/home
  - path: sites/store
    include: [{ from: packages/style, to: public/style }]
${more}`

/** One repository of several apps, each delivered by itself. */
export function monorepoStory(given: () => KilnAtHand): void {
  let repository: Repository
  let first: Operation

  async function write(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(repository.path, path)), { recursive: true })
      await writeFile(join(repository.path, path), content)
    }
  }

  async function deliver(commit: string, app?: string): Promise<Operation> {
    const api = await given().api()
    const body = {
      repository: repository.path,
      revision: commit,
      ...(app === undefined ? {} : { app }),
    }
    const { operation } = await api.startBuild({ params: {}, query: {}, body })
    return ended(api, operation)
  }

  /** The operation of one app's delivery, which the whole names. */
  async function partOf(whole: Operation, app: string): Promise<Operation> {
    const id = String(whole.result[`delivery of ${app}`])
    return (await (await given().api()).operation({ params: { id } })).operation
  }

  async function pageOf(environment: string, path: string): Promise<Response> {
    const { items } = await (await given().api()).environments({})
    const { address } = items.find(({ name }) => name === environment) ?? {}
    return fetch(`${address}${path}`)
  }

  async function active(environment: string, digest: unknown): Promise<void> {
    const api = await given().api()
    await eventually(`${environment} runs ${String(digest)}`, 120, async () =>
      (await activeDigest(api, environment)) === digest ? true : undefined,
    )
  }

  beforeAll(async () => {
    repository = await makeRepository(join(given().folder, 'sites'), join(root, 'examples/site'))
    await mkdir(join(repository.path, 'sites'))
    await cp(join(root, 'examples/site'), join(repository.path, 'sites/home'), { recursive: true })
    await rm(join(repository.path, 'public'), { recursive: true })
    await write({
      'kiln.yaml': rootYaml('  - path: sites/broken\n'),
      'sites/broken/kiln.yaml': appYaml('broken', 'no-such-template'),
      'sites/store/kiln.yaml': appYaml('store'),
      'sites/store/public/index.html': '<h1>store</h1>',
      'packages/style/main.css': 'body { margin: 0 }',
    })
  })

  test('every app of a commit is delivered by itself, and one that fails stops no other', async () => {
    first = await deliver(await repository.commit('first'))
    expect(first.state).toBe('failed')
    expect(first.failure).toMatchObject({ message: '1 of 3 apps failed: broken' })
    expect(first.failure?.lines[0]).toContain('no-such-template')
    for (const app of ['site', 'store']) {
      const { result, state } = await partOf(first, app)
      expect(state).toBe('succeeded')
      await active(`${app}/dev`, result['digest'])
    }
  })

  test('a site comes through the entrance with its types and tags, and no file that is not its own', async () => {
    const home = await pageOf('site/dev', '/')
    expect(home.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(await home.text()).toContain('<h1>Hello from a site</h1>')
    const etag = home.headers.get('etag') ?? ''
    const { address } =
      (await (await given().api()).environments({})).items.find(
        ({ name }) => name === 'site/dev',
      ) ?? {}
    expect((await fetch(`${address}/`, { headers: { 'if-none-match': etag } })).status).toBe(304)
    expect((await pageOf('site/dev', '/kiln.yaml')).status).toBe(404)
    // What it includes stands where the list at the top says.
    expect(await (await pageOf('store/dev', '/style/main.css')).text()).toBe('body { margin: 0 }')
  })

  test('only the app that a change belongs to is built; the other keeps its artifact and its key', async () => {
    const api = await given().api()
    const before = (await api.environments({})).items.find(({ name }) => name === 'site/dev')
    await write({
      'kiln.yaml': rootYaml(''),
      'packages/style/main.css': 'body { margin: 1px }',
    })
    const whole = await deliver(await repository.commit('another style'))
    expect(whole.failure).toBeNull()
    expect(whole.state).toBe('succeeded')
    const site = await partOf(whole, 'site')
    expect(site.state).toBe('unchanged')
    expect(site.result).toMatchObject({
      digest: (await partOf(first, 'site')).result['digest'],
      change: null,
    })
    const store = await partOf(whole, 'store')
    expect(store.state).toBe('succeeded')
    expect(store.result['digest']).not.toBe((await partOf(first, 'store')).result['digest'])
    await active('store/dev', store.result['digest'])
    const after = (await api.environments({})).items.find(({ name }) => name === 'site/dev')
    expect(after?.active).toEqual(before?.active)
  })

  test('a commit that touches no app changes nothing, and one app can be asked for by its name', async () => {
    await write({ 'README.md': 'read me' })
    const commit = await repository.commit('words only')
    const whole = await deliver(commit)
    expect(whole.state).toBe('unchanged')
    const one = await deliver(commit, 'store')
    expect(one.state).toBe('unchanged')
    expect(Object.keys(one.result).filter((key) => key.startsWith('delivery of '))).toEqual([
      'delivery of store',
    ])
    const none = await deliver(commit, 'no-such-app')
    expect(none.failure).toMatchObject({ code: 'not_found', fix: 'there are: site, store' })
  })

  test('a change that is taken back is a change: the old content goes its way again', async () => {
    await write({ 'packages/style/main.css': 'body { margin: 0 }' })
    const whole = await deliver(await repository.commit('the first style again'))
    const store = await partOf(whole, 'store')
    expect(store.state).toBe('succeeded')
    expect(store.result['digest']).not.toBe((await partOf(first, 'store')).result['digest'])
    await active('store/dev', store.result['digest'])
  })

  test('an app of several is made again from its record, to the same digest', async () => {
    const { result } = await partOf(first, 'store')
    const api = await given().api()
    const { operation } = await api.startRebuild({
      params: {},
      query: {},
      body: { digest: String(result['digest']) as never },
    })
    const again = await ended(api, operation)
    expect(again.failure).toBeNull()
    expect(again.result).toMatchObject({ digest: result['digest'], same: true })
  })
}
