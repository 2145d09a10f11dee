import { execa } from 'execa'
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CallOptions, Client } from '../../src/api/client.ts'
import { parseDigest, type Digest } from '../../src/domain/digest.ts'
import { KilnError } from '../../src/domain/error.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { makeRepository, type Repository } from '../demo/repository.ts'
import { root } from '../demo/kiln.ts'
import { until, type Session } from './session.ts'

/** Everything that people and the world do to a Kiln, each to its end. */
export type Work = ReturnType<typeof openWork>
export type WayName = keyof Work['ways']

const prod = { params: { app: 'hello', environment: 'prod' }, query: {} }
const reason = 'chaos'
const exampleFolder = join(root, 'examples/hello')

type Context = {
  session: Session
  /** Where repositories may lie. */
  folder: string
  /** Docker Engine that runs instances, as the docker command names it. */
  engine: string
  /** Name of the host, which its containers carry. */
  host: string
}

export function openWork(context: Context) {
  const { folder } = context
  const main = lazily(() => makeRepository(join(folder, 'repository'), exampleFolder))
  const made: Made = { good: [], builds: [] }
  const newest = (): Digest => {
    const digest = made.good.at(-1)
    if (digest === undefined) throw new Error('nothing was delivered')
    return digest
  }
  return {
    ...made,
    ways: {
      async deliver() {
        const repository = await main()
        made.good.push(await delivered(context, repository, made))
      },
      promote: () => toProd(context, newest()),
      rollback: () => rollback(context),
      release: () => release(context),
      scale: () => scale(context),
      /** One more artifact, so that there is something to return to, whatever went before. */
      async revoke() {
        const digest = await delivered(context, await main(), made)
        await toProd(context, digest)
        await revoke(context, digest)
      },
      drift: () => drift(context),
      /** A digest that nobody built may be nowhere. */
      refusal: async () => {
        await promote(context, 'prod', parseDigest(`sha256:${'0'.repeat(64)}`)).catch(isRefused)
      },
      rejection: () => rejection(context, made),
      async rebuild() {
        const body = { digest: newest() }
        const rebuilt = await carriedOut(context, (api, options) =>
          api.startRebuild({ params: {}, query: {}, body }, options),
        )
        succeeded(rebuilt)
      },
      /** A new app's first commit, found by a watch: its environment is opened at the edge. */
      watch: () => watched(context),
    },
  }
}

type Made = { good: Digest[]; builds: string[] }

type Ask = (api: Client, options: CallOptions) => Promise<{ operation: Operation }>

function carriedOut({ session }: Context, ask: Ask): Promise<Operation> {
  return session.start(ask).then(session.end)
}

async function built(
  context: Context,
  { repository, revision }: { repository: Repository; revision: string },
  { builds }: Made,
): Promise<Operation> {
  const body = { repository: repository.path, revision }
  const operation = await carriedOut(context, (api, options) =>
    api.startBuild({ params: {}, query: {}, body }, options),
  )
  if (typeof operation.result['build'] === 'string') builds.push(operation.result['build'])
  return operation
}

async function delivered(context: Context, repository: Repository, made: Made): Promise<Digest> {
  const revision = await commitSomething(repository)
  const operation = succeeded(await built(context, { repository, revision }, made))
  const change = operation.result['change']
  if (typeof change === 'string') succeeded(await context.session.end({ id: change }))
  return parseDigest(String(operation.result['digest']))
}

function promote(context: Context, environment: string, digest: Digest): Promise<Operation> {
  const at = { params: { app: 'hello', environment }, query: {} }
  return carriedOut(context, (api, options) =>
    api.promote({ ...at, body: { digest, reason } }, options),
  )
}

async function toProd(context: Context, digest: Digest): Promise<void> {
  succeeded(await promote(context, 'test', digest))
  succeeded(await promote(context, 'prod', digest))
}

const askRollback: Ask = (api, options) => api.rollback({ ...prod, body: { reason } }, options)
const askRelease: Ask = (api, options) => api.release({ ...prod, body: { reason } }, options)

async function rollback(context: Context): Promise<void> {
  const { items } = await context.session.call((api) => api.rollbackTargets(prod))
  if (items.length === 0) return
  succeeded(await carriedOut(context, askRollback))
}

async function release(context: Context): Promise<void> {
  const { hold } = await context.session.call((api) => api.environment(prod))
  if (hold === null) return
  succeeded(await carriedOut(context, askRelease))
}

async function scale(context: Context): Promise<void> {
  const { instances } = await context.session.call((api) => api.environment(prod))
  const body = { instances: instances.wanted > 2 ? 2 : 3, reason }
  succeeded(await carriedOut(context, (api, options) => api.scale({ ...prod, body }, options)))
}

/** Denies what serves everywhere: each environment that serves it returns, and goes on by itself after a release. */
async function revoke(context: Context, digest: Digest): Promise<void> {
  const { session } = context
  const body = { subject: { kind: 'artifact', digest } as const, reason }
  succeeded(await carriedOut(context, (api, options) => api.revoke({ body }, options)))
  for (const environment of ['dev', 'test', 'prod']) {
    const at = { params: { app: 'hello', environment }, query: {} }
    const { hold } = await session.call((api) => api.environment(at))
    if (hold === null) continue
    succeeded(
      await carriedOut(context, (api, options) =>
        api.release({ ...at, body: { reason } }, options),
      ),
    )
  }
}

/** A commit whose dependencies are not those of its lock: its build ends, and that is on record. */
async function rejection(context: Context, made: Made): Promise<void> {
  const repository = await makeRepository(join(context.folder, 'bad'), exampleFolder)
  await edit(join(repository.path, 'package.json'), (text) => {
    const json = JSON.parse(text) as { dependencies?: Record<string, string> }
    return JSON.stringify({ ...json, dependencies: { ...json.dependencies, absent: '1.0.0' } })
  })
  const revision = await commitSomething(repository)
  const { state } = await built(context, { repository, revision }, made)
  if (state !== 'failed') throw new Error(`a build that cannot go well: ${state}`)
}

function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}

function succeeded(operation: Operation): Operation {
  const { state, failure, id } = operation
  if (state === 'succeeded' || state === 'unchanged') return operation
  throw new Error(`${id}: ${state}: ${failure?.message ?? ''} ${failure?.lines.join(' ') ?? ''}`)
}

/** The API or the plan says no; both are right, and the log has it. */
function isRefused(error: unknown): void {
  if (!(error instanceof KilnError)) throw error
}

/** Another artifact, from dependencies that are fetched anew. */
async function commitSomething(repository: Repository): Promise<string> {
  const id = randomUUID()
  await writeFile(join(repository.path, 'message.txt'), `Hello ${id}\n`)
  await edit(join(repository.path, 'package.json'), (text) => {
    const json = JSON.parse(text) as Record<string, unknown>
    return JSON.stringify({ ...json, description: id }, null, 2)
  })
  return repository.commit(`Say hello ${id}`)
}

async function edit(path: string, change: (text: string) => string): Promise<void> {
  await writeFile(path, change(await readFile(path, 'utf8')))
}

/** Something happens to one of prod's instances by hand; Kiln replaces it. */
async function drift({ session, engine, host }: Context): Promise<void> {
  const filters = [`label=kiln.host=${host}`, 'label=kiln.environment=hello/prod']
  const words = ['ps', '-q', '--no-trunc', ...filters.flatMap((one) => ['--filter', one])]
  const { stdout } = await execa('docker', ['-H', engine, ...words])
  const [victim] = stdout
    .split('\n')
    .filter((id) => id !== '')
    .toSorted(() => Math.random() - 0.5)
  if (victim === undefined) return
  const hands = [['kill'], ['stop', '-t', '1'], ['rm', '-f'], ['pause']]
  const hand = hands[Math.floor(Math.random() * hands.length)] ?? ['kill']
  const at = Date.now()
  await execa('docker', ['-H', engine, ...hand, victim], { reject: false })
  await until('the replacement', 240_000, async () => {
    const { running } = await session.call((api) => api.environment(prod))
    return running.every((one) => one.id !== victim) && (await isQuiet(session))
  }).finally(() =>
    session.journal.disturbed({
      at,
      until: Date.now(),
      what: 'outside',
      target: 'instance',
      containers: [victim],
    }),
  )
}

/** Nothing is open anywhere. */
export async function isQuiet(session: Session): Promise<boolean> {
  const { items } = await session.call((api) => api.environments({}))
  return items.every(({ open }) => open === null)
}

async function watched({ session, folder }: Context): Promise<void> {
  const app = `app-${randomUUID().slice(0, 8)}`
  const repository = await makeRepository(join(folder, app), exampleFolder)
  await edit(join(repository.path, 'kiln.yaml'), (text) => {
    const [before = ''] = text.split('  - name: test')
    return before.replace('app: hello', `app: ${app}`)
  })
  await commitSomething(repository)
  const body = { repository: repository.path, branches: ['main'] }
  const { watch } = await session.call((api) => api.startWatch({ params: {}, query: {}, body }))
  await until(`${app} is delivered`, 240_000, async () => {
    const { items } = await session.call((api) => api.environments({}))
    return items.some(
      ({ name, active, open }) => name === `${app}/dev` && active !== null && open === null,
    )
  })
  await session.call((api: Client) => api.stopWatch({ params: { id: watch.id } }))
}
