import { Client as TemporalClient, Connection } from '@temporalio/client'
import { execa } from 'execa'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from '../src/api/client.ts'
import { hasEnded, type Operation } from '../src/domain/operation.ts'
import { kilnAtHand, type KilnAtHand } from '../test/e2e/kiln-at-hand.ts'
import { historyText } from '../test/helpers/history-file.ts'
import { eventually, root } from './demo/kiln.ts'
import { changeGreeting, type Repository } from './demo/repository.ts'

/**
 * Records a history of each workflow from a real Kiln into test/histories/<release>, for the replay
 * test: released workflow code must replay them all. What an earlier release recorded stays as it is.
 *
 *   sh scripts/run.sh --for test scripts/record-histories.ts <release>
 */
const release = process.argv[2] ?? ''
if (!/^[a-z0-9.-]+$/.test(release)) throw new Error('which release? For example 0.1.0')

const kiln = await kilnAtHand()
try {
  await kiln.up()
  await save(await drive(kiln, await kiln.repository('hello')))
} finally {
  await kiln.remove()
}

async function ended(api: Client, { id }: { id: string }): Promise<Operation> {
  return eventually(`${id} ends`, 120, async () => {
    const { operation } = await api.operation({ params: { id } })
    return hasEnded(operation) ? operation : undefined
  })
}

/** Builds what the repository holds now, and waits until dev took it or refused it. */
async function build(api: Client, repository: Repository, message: string): Promise<Operation> {
  const body = { repository: repository.path, revision: await repository.commit(message) }
  const { operation } = await api.startBuild({ params: {}, query: {}, body })
  const done = await ended(api, operation)
  const { change } = done.result
  if (typeof change === 'string') await ended(api, { id: change })
  return done
}

/** Everything that Kiln does, once; gives the workflows' ids by the names of their files. */
async function drive(
  { api: connect, host }: KilnAtHand,
  repository: Repository,
): Promise<Record<string, string>> {
  const api = await connect()
  const { watch } = await api.startWatch({ body: { repository: repository.path } })
  const first = await build(api, repository, 'first')
  await eventually('the watch has seen it', 60, async () =>
    (await api.watches({})).items.some((one) => one.lastCommit !== null) ? true : undefined,
  )
  await api.stopWatch({ params: { id: watch.id } })
  await changeGreeting(repository, 'Hello again')
  const second = await build(api, repository, 'second')
  await changeProd(api, [String(first.result['digest']), String(second.result['digest'])])
  await drift(api, host)
  const body = { digest: first.result['digest'] as never }
  const { operation: rebuild } = await api.startRebuild({ params: {}, query: {}, body })
  await ended(api, rebuild)
  const faults = await buildFaults(api, repository)
  return {
    ...faults,
    delivery: first.id,
    build: String(first.result['build']),
    rebuild: rebuild.id,
    watch: watch.id,
    'environment-dev': 'environment:hello/dev',
    'environment-test': 'environment:hello/test',
    'environment-prod': 'environment:hello/prod',
  }
}

function at(environment: string) {
  return { params: { app: 'hello', environment }, query: {} }
}

/** Promotions, a refusal, a rollback, its release, and a scale. */
async function changeProd(api: Client, digests: readonly string[]): Promise<void> {
  const reason = 'recorded'
  const never = 'sha256:'.padEnd(71, '0')
  for (const digest of [...digests, never] as never[]) {
    for (const environment of ['test', 'prod']) {
      await ended(
        api,
        (await api.promote({ ...at(environment), body: { digest, reason } })).operation,
      )
    }
  }
  await ended(api, (await api.rollback({ ...at('prod'), body: { reason } })).operation)
  await ended(api, (await api.release({ ...at('prod'), body: { reason } })).operation)
  await ended(api, (await api.scale({ ...at('prod'), body: { instances: 3, reason } })).operation)
}

/** Stops one of prod's instances by hand, and waits for the replacement. */
async function drift(api: Client, host: string): Promise<void> {
  const labels = [`label=kiln.host=${host}`, 'label=kiln.environment=hello/prod']
  const filters = labels.flatMap((label) => ['--filter', label])
  const { stdout } = await execa('docker', ['ps', '-q', ...filters])
  const [one = ''] = stdout.split('\n')
  await execa('docker', ['kill', one])
  await eventually('the instance is replaced', 60, async () => {
    const { items } = await api.operations({ query: {} })
    return items.some((item) => item.kind === 'replacement' && hasEnded(item)) ? true : undefined
  })
}

/** Commits that end badly: never ready, a failing step, a kiln.yaml that is not one. */
async function buildFaults(api: Client, repository: Repository): Promise<Record<string, string>> {
  const edit = async (path: string, change: (text: string) => string) => {
    const file = join(repository.path, path)
    await writeFile(file, change(await readFile(file, 'utf8')))
  }
  await edit('server.js', (text) => text.replace('stopping ? 503 : 200', '503'))
  await edit('kiln.yaml', (text) => text.replace('stop:', 'start: { timeout: 2s }\n    stop:'))
  await build(api, repository, 'never ready')
  await edit('package-lock.json', (text) => text.replace('"lockfileVersion": 3', '"x": 3'))
  const lock = await build(api, repository, 'a lock file that is not one')
  await edit('kiln.yaml', (text) => text.replace('version: 1', 'version: 9'))
  const yaml = await build(api, repository, 'a kiln.yaml that is not one')
  return {
    'delivery-refused': yaml.id,
    'delivery-failed': lock.id,
    'build-failed': String(lock.result['build']),
  }
}

async function save(ids: Record<string, string>): Promise<void> {
  const folder = join(root, 'test/histories', release)
  await mkdir(folder, { recursive: true })
  const address = `127.0.0.1:${Number(kiln.env['KILN_API_PORT']) + 5}`
  const connection = await Connection.connect({ address })
  const { workflow } = new TemporalClient({ connection })
  for (const [name, id] of Object.entries(ids)) {
    const history = await workflow.getHandle(id).fetchHistory()
    await writeFile(join(folder, `${name}.json`), historyText(history))
  }
  await connection.close()
}
