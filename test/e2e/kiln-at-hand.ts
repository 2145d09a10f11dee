import { execa } from 'execa'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Client } from '../../src/api/client.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'
import { eventually, followed, kilnAt, root, type Kiln } from '../../scripts/demo/kiln.ts'
import { makeRepository, type Repository } from '../../scripts/demo/repository.ts'
import { answersOf, giveCanaries, homePlaces } from './kiln-secrets.ts'
import { formsOf, ownSecrets, searchPlaces, type Secret } from './secret-search.ts'
import { workflowBundle } from '../../src/main/workflow-bundle.ts'
import { givenFolder } from '../../src/main/host-secrets.ts'
import { emptyIndex } from '../helpers/empty-index.ts'
import { testTemplates, type TestTemplates } from '../helpers/templates.ts'

export { eventually, followed }

export type KilnAtHand = Kiln & {
  folder: string
  /** Its name among the hosts: what its containers and networks begin with is `kiln-<host>`. */
  host: string
  env: Readonly<Record<string, string>>
  /** A repository made from examples/hello, which this Kiln may read. */
  repository: (name?: string) => Promise<Repository>
  /** Pid of one of its processes, as the supervisor knows it now. */
  pid: (process: string) => Promise<number>
  up: () => Promise<void>
  down: () => Promise<void>
  /** What its commands have printed, errors too. */
  said: string[]
  /** A secret that a story gives to it: when it is taken away it must be nowhere. Answers with its text. */
  plant: (name: string, text: string) => string
  /**
   * Ends everything and removes what it left in the engine and on disk. Throws when one of its secrets, or one
   * that was planted, lies anywhere but where it belongs. `store`: where its objects lie, if not in its home;
   * `isDown`: nobody is there any more who could be asked.
   */
  remove: (left?: { store?: string; isDown?: boolean }) => Promise<void>
}

/**
 * Ports that nobody uses, a hundred in a row: below those that the system gives to clients, and from
 * the third that is this worker's, since the files beside it may not have opened their own yet.
 */
export async function freePorts(): Promise<number> {
  const third = Number(process.env['VITEST_POOL_ID'] ?? 0) % 3
  for (;;) {
    const first = 11_000 + third * 7_000 + Math.floor(Math.random() * 70) * 100
    const taken = await Promise.all(
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((n) => isTaken(first + n)),
    )
    if (!taken.includes(true)) return first
  }
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
      .once('error', () => resolve(true))
      .listen(port, '127.0.0.1', () => server.close(() => resolve(false)))
  })
}

/** A whole Kiln of its own on this machine, with locked templates, not yet up. */
export async function kilnAtHand(
  settings: Readonly<Record<string, string>> = {},
  lockedTemplates: () => Promise<TestTemplates> = testTemplates,
): Promise<KilnAtHand> {
  const templates = await lockedTemplates()
  const folder = await mkdtemp(join(tmpdir(), 'kiln-e2e-'))
  const home = join(folder, 'home')
  const host = `e${Math.random().toString(36).slice(2, 8)}`
  await mkdir(join(home, 'run'), { recursive: true, mode: 0o700 })
  // What is the same for every Kiln of today's code; `loop.test.ts` makes its own.
  await emptyIndex(join(home, 'index'))
  const bundle = await workflowBundle(join(root, '.cache'))
  await cp(bundle, join(home, 'run', basename(bundle)))
  // Stored objects never change, so the test's store can share them with the templates' by hard links.
  await execa('cp', ['-al', templates.storeRoot, join(home, 'store')])
  for (const name of templates.names) {
    await cp(join(templates.folder, name), join(folder, 'templates', name), { recursive: true })
  }
  const planted: Secret[] = []
  const plant = (name: string, text: string): string => {
    planted.push(...formsOf(name, text))
    return text
  }
  const canaries = await giveCanaries({ home, folder }, plant)
  const env: Record<string, string> = {
    KILN_API_PORT: String(await freePorts()),
    KILN_HOST: host,
    KILN_REPOSITORIES: folder,
    KILN_TEMPLATES: join(folder, 'templates'),
    // It outlives the home, as a person's own folder does.
    XDG_STATE_HOME: join(folder, 'state'),
    ...canaries,
    ...settings,
  }
  const kiln = kilnAt(home, env)
  const said: string[] = []
  const engine = (...args: string[]) =>
    execa('docker', env['DOCKER_HOST'] === undefined ? args : ['-H', env['DOCKER_HOST'], ...args], {
      reject: false,
    })
  return {
    ...kiln,
    folder,
    host,
    env,
    repository: (name = 'repository') =>
      makeRepository(join(folder, name), join(root, 'examples/hello')),
    async pid(name) {
      const state = JSON.parse(await readFile(join(home, 'run/supervisor.json'), 'utf8')) as {
        processes: { name: string; pid: number | null }[]
      }
      const pid = state.processes.find((one) => one.name === name)?.pid
      if (pid === undefined || pid === null) throw new Error(`${name} does not run`)
      return pid
    },
    up: async () => void (await kiln.cli('up')),
    down: async () => void (await kiln.cli('down')),
    said,
    plant,
    async remove({ store = join(home, 'store'), isDown = false } = {}) {
      const leaks: string[] = []
      // Whatever is found or fails, the rest is taken away too.
      const tell = (error: unknown) => void leaks.push(String(error))
      const answers = join(folder, 'answers')
      await answersOf(kiln, { folder: answers, engine, host, said, isDown }).catch(tell)
      await kiln.cli('down')
      const search = async (): Promise<string[]> =>
        searchPlaces(await homePlaces({ home, folder, store, answers, isDown }), {
          secrets: [...(await ownSecrets(home)), ...planted],
          // Names that only this Kiln has: of its folder, and of what its host starts.
          control: [basename(folder), `kiln-${host}`],
          scratch: join(folder, 'search'),
          isOthers: (path) => existsSync(join(templates.storeRoot, 'blobs/sha256', basename(path))),
        })
      leaks.push(...(await search().catch((error: unknown) => [String(error)])))
      if (process.env['KEEP_E2E']) return
      await clearEngine(engine, { host, port: Number(env['KILN_API_PORT']) })
      await rm(folder, { recursive: true, force: true })
      const secrets = givenFolder({ home, hostName: host, secrets: { folder, memory: undefined } })
      await rm(secrets, { recursive: true, force: true })
      if (leaks.length > 0) throw new Error(`secrets were kept: ${leaks.join(', ')}`)
    },
  }
}

type Engine = (...args: string[]) => Promise<{ stdout: string }>

/** Removes what a Kiln left in an engine: by its name among the hosts, and by its first port. */
export async function clearEngine(
  engine: Engine,
  { host, port }: { host: string; port: number },
): Promise<void> {
  const left = await engine('ps', '-aq', '--filter', `label=kiln.host=${host}`)
  const ids = left.stdout.split('\n').filter((id) => id !== '')
  if (ids.length > 0) await engine('rm', '-f', ...ids)
  const networks = await engine('network', 'ls', '-q', '--filter', `label=kiln.host=${host}`)
  for (const id of networks.stdout.split('\n').filter((one) => one !== ''))
    await engine('network', 'rm', id)
  await forgetImages(engine, port)
}

/** The engine's names for images of this Kiln's two registries; other Kilns' names of the same images stay. */
async function forgetImages(engine: Engine, port: number): Promise<void> {
  const repositories = [port + 1, port + 2].flatMap((one) => [
    `127.0.0.1:${one}/*`,
    `127.0.0.1:${one}/*/*`,
  ])
  const filters = repositories.flatMap((one) => ['--filter', `reference=${one}`])
  const format = ['--digests', '--format', '{{.Repository}}@{{.Digest}}']
  const { stdout } = await engine('images', ...filters, ...format)
  const names = stdout.split('\n').filter((name) => name.includes('@sha256:'))
  if (names.length > 0) await engine('rmi', ...names)
}

/** Writes a file of the repository and commits it. */
export async function commitFile(
  repository: Repository,
  path: string,
  content: string,
): Promise<string> {
  await writeFile(join(repository.path, path), content)
  return repository.commit(`change ${path}`)
}

/** Builds a commit and follows it to its end. */
export async function delivered(
  api: Client,
  repository: Repository,
  commit: string,
): Promise<Operation> {
  const { operation } = await api.startBuild({
    params: {},
    query: {},
    body: { repository: repository.path, revision: commit },
  })
  return followed(api, operation)
}

/** Follows an operation to its end, good or bad. */
export async function ended(api: Client, { id }: Pick<Operation, 'id'>): Promise<Operation> {
  let { operation } = await api.operation({ params: { id } })
  if (!hasEnded(operation)) {
    for await (const event of await api.events({ params: { id } })) operation = event.data
  }
  return operation
}

/** The digest that is active in an environment. */
export async function activeDigest(api: Client, environment: string): Promise<string | undefined> {
  const { items } = await api.environments({})
  return items.find((one) => one.name === environment)?.active?.digest
}
