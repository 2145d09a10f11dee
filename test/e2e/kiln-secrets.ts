import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeRepositories } from '../../src/main/repositories.ts'
import type { Kiln } from '../../scripts/demo/kiln.ts'
import { everyRoute } from './every-route.ts'
import { homeWithout, type Place } from './secret-search.ts'

type Plant = (name: string, text: string) => string
type Engine = (...args: string[]) => Promise<{ stdout: string; stderr: string }>

/** What no story reads: a secret of the host in each of its two places, and all that is said of a private repository. */
export async function giveCanaries(
  { home, folder }: { home: string; folder: string },
  plant: Plant,
): Promise<Record<string, string>> {
  const canary = (name: string) => plant(name, `Kn7${crypto.randomUUID().replaceAll('-', '')}x`)
  const secrets = join(home, 'secrets')
  await mkdir(secrets, { mode: 0o700 })
  await writeFile(join(secrets, 'canary'), canary('file of the host'), { mode: 0o600 })
  const own = join(folder, 'canaries')
  await mkdir(own, { mode: 0o700 })
  for (const name of ['git-token', 'webhook-secret', 'status-token'])
    await writeFile(join(own, name), canary(name), { mode: 0o600 })
  await writeRepositories(home, [
    {
      address: 'https://canary.invalid/team/app',
      forge: 'github',
      token: { tokenFile: join(own, 'git-token'), user: 'x-access-token' },
      webhook: { secretFile: join(own, 'webhook-secret') },
      status: { tokenFile: join(own, 'status-token') },
    },
  ])
  return { KILN_SECRET_CANARY: canary('variable of the host') }
}

/** Writes down what a Kiln answers and has said, and what its engine tells, while it is still there. */
export async function answersOf(
  kiln: Kiln,
  given: {
    folder: string
    engine: Engine
    host: string
    said: readonly string[]
    isDown: boolean
  },
): Promise<void> {
  const { folder, engine, host, said, isDown } = given
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'said'), said.join('\n'))
  await writeFile(join(folder, 'engine'), await engineSays(engine, host))
  if (isDown) return
  const answers: Buffer[] = []
  for await (const bytes of everyRoute(kiln, await known(kiln))) answers.push(bytes)
  await writeFile(join(folder, 'routes'), Buffer.concat(answers))
}

async function engineSays(engine: Engine, host: string): Promise<string> {
  const { stdout } = await engine('ps', '-aq', '--filter', `label=kiln.host=${host}`)
  const ids = stdout.split('\n').filter((id) => id !== '')
  if (ids.length === 0) return ''
  const told = await Promise.all([
    engine('inspect', ...ids),
    ...ids.map((id) => engine('logs', id)),
  ])
  return told.flatMap((one) => [one.stdout, one.stderr]).join('\n')
}

/** Some values of the routes' parameters: what is there, the newest operations, and what is not there. */
async function known(kiln: Kiln): Promise<Record<string, string[]>> {
  const api = await kiln.api()
  const operations = (await api.operations({ query: {} })).items
  const environments = (await api.environments({})).items
  const apps = environments.map(({ name }) => name.split('/')[0] ?? '')
  return {
    id: [...operations.slice(0, 10).map(({ id }) => id), 'nobody'],
    app: [...new Set([...apps, 'nobody'])].slice(0, 3),
    environment: ['dev', 'prod'],
    digest: environments
      .flatMap(({ active }) => (active === null ? [] : [active.digest]))
      .slice(0, 2),
    sequence: ['1'],
    '*': ['0/000', 'entries/000'],
  }
}

/** Every place of a Kiln that is down; `answers`, what it answered before. */
export async function homePlaces(given: {
  home: string
  folder: string
  store: string
  answers: string
  isDown: boolean
}): Promise<Place[]> {
  const { home, folder, store, answers, isDown } = given
  const inHome = (name: string) => [join(home, name)]
  const ofStore = await readdir(store)
  const kept = ['bundles', 'blobs']
  return [
    { name: 'logs', paths: inHome('logs') },
    { name: 'histories', paths: inHome('temporal') },
    { name: 'SQL', paths: inHome('index') },
    { name: 'ledger', paths: [join(store, 'bundles')] },
    { name: 'layers and other blobs', paths: [join(store, 'blobs')] },
    ...(isDown ? [] : [{ name: 'routes and errors', paths: [join(answers, 'routes')] }]),
    {
      name: 'all else',
      paths: [
        ...ofStore.filter((name) => !kept.includes(name)).map((name) => join(store, name)),
        join(folder, 'state'),
        join(answers, 'said'),
        join(answers, 'engine'),
        ...(await homeWithout(home, ['logs', 'temporal', 'index', 'store'])),
      ],
    },
  ]
}
