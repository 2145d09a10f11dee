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
import { patienceMs, until, type Session } from './session.ts'

/** Everything that people and the world do to a Kiln, each to its end. */
export type Work = ReturnType<typeof openWork>

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
  /** Name of the app that is worked on; what two apps do may happen at the same time. */
  app: string
}

/** Each way goes to its end whatever was done before: what it needs first it does itself. */
export function openWork(context: Context) {
  const { folder, app } = context
  const main = lazily(() => pipeline(join(folder, app), app))
  const made: Made = { good: [], builds: [] }
  const deliver = async (): Promise<Digest> => {
    const digest = await delivered(context, await main(), made)
    made.good.push(digest)
    return digest
  }
  const promote = async (): Promise<void> => {
    if (made.good.length === 0) await deliver()
    const dev = await activeIn(context, 'dev')
    const nothingNew = dev === null || dev === (await activeIn(context, 'prod'))
    succeeded(await promoted(context, nothingNew ? await deliver() : dev))
  }
  const rollback = async (): Promise<void> => {
    for (let look = 0; ; look++) {
      const { items } = await context.session.call((api) => api.rollbackTargets(prod(context)))
      const [target] = items
      if (target !== undefined) {
        succeeded(await carriedOut(context, askRollback(context, target.digest)))
        return
      }
      if (look === 2) throw new Error(`after two promotions ${app}/prod has nothing to return to`)
      await promote()
    }
  }
  return {
    ...made,
    app,
    ways: {
      deliver: async () => void (await deliver()),
      promote,
      rollback,
      /** A rollback holds the environment; this lets it go. */
      async release() {
        if ((await prodOf(context)).hold === null) await rollback()
        succeeded(await carriedOut(context, askRelease(context)))
      },
      scale: () => scale(context),
      /** One more artifact, so that there is something to return to, whatever went before. */
      async revoke() {
        const digest = await delivered(context, await main(), made)
        succeeded(await promoted(context, digest))
        await revoke(context, digest)
      },
      drift: () => drift(context),
      /** A digest that nobody built may be nowhere. */
      refusal: async () => {
        await promoted(context, parseDigest(`sha256:${'0'.repeat(64)}`)).catch(isRefused)
      },
      rejection: () => rejection(context, made),
      async rebuild() {
        const body = { digest: made.good.at(-1) ?? (await deliver()) }
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

function prod({ app }: Context) {
  return { params: { app, environment: 'prod' }, query: {} }
}

async function activeIn({ session, app }: Context, environment: string): Promise<Digest | null> {
  const { active } = await session.call((api) =>
    api.environment({ params: { app, environment }, query: {} }),
  )
  return active?.digest ?? null
}

export function prodOf(context: Pick<Context, 'session' | 'app'>) {
  return context.session.call((api) =>
    api.environment({ params: { app: context.app, environment: 'prod' }, query: {} }),
  )
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

function promoted(context: Context, digest: Digest): Promise<Operation> {
  return carriedOut(context, (api, options) =>
    api.promote({ ...prod(context), body: { digest, reason } }, options),
  )
}

function askRollback(context: Context, to: Digest): Ask {
  return (api, options) => api.rollback({ ...prod(context), body: { to, reason } }, options)
}

function askRelease(context: Context): Ask {
  return (api, options) => api.release({ ...prod(context), body: { reason } }, options)
}

async function scale(context: Context): Promise<void> {
  const { instances } = await prodOf(context)
  const body = { instances: instances.wanted > 2 ? 2 : 3, reason }
  succeeded(
    await carriedOut(context, (api, options) => api.scale({ ...prod(context), body }, options)),
  )
}

/** Denies what serves everywhere: each environment that serves it returns, and goes on by itself after a release. */
async function revoke(context: Context, digest: Digest): Promise<void> {
  const { session, app } = context
  const body = { subject: { kind: 'artifact', digest } as const, reason }
  succeeded(await carriedOut(context, (api, options) => api.revoke({ body }, options)))
  for (const environment of ['dev', 'prod']) {
    const at = { params: { app, environment }, query: {} }
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
  const repository = await pipeline(join(context.folder, `bad-${context.app}`), context.app)
  await edit(join(repository.path, 'package.json'), (text) => {
    const json = JSON.parse(text) as { dependencies?: Record<string, string> }
    return JSON.stringify({ ...json, dependencies: { ...json.dependencies, absent: '1.0.0' } })
  })
  const revision = await commitSomething(repository)
  const { state } = await built(context, { repository, revision }, made)
  if (state !== 'failed') throw new Error(`a build that cannot go well: ${state}`)
}

/** The example as an app of its own with dev and prod alone, whose requests are under way for a while. */
async function pipeline(path: string, app: string): Promise<Repository> {
  const repository = await makeRepository(path, exampleFolder)
  await edit(join(path, 'kiln.yaml'), (text) => {
    const [dev = '', rest = ''] = text.split('  - name: test')
    const [, prodPart = ''] = rest.split('  - name: prod')
    return renamed(`${dev}  - name: prod${prodPart}`, app).replaceAll('1ms', '20ms')
  })
  return repository
}

function renamed(text: string, app: string): string {
  return text.replace('app: hello', `app: ${app}`)
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
async function drift(context: Context): Promise<void> {
  const { session, engine, host, app } = context
  const filters = [`label=kiln.host=${host}`, `label=kiln.environment=${app}/prod`]
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
  await until('the replacement', patienceMs, async () => {
    const { running } = await prodOf(context)
    return running.every((one) => one.id !== victim) && (await isQuiet(session, `${app}/prod`))
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

/** Nothing is open in the environment, or with none named anywhere. */
export async function isQuiet(session: Session, environment?: string): Promise<boolean> {
  const { items } = await session.call((api) => api.environments({}))
  return items.every(
    ({ name, open }) => open === null || (environment !== undefined && name !== environment),
  )
}

async function watched({ session, folder }: Context): Promise<void> {
  const app = `app-${randomUUID().slice(0, 8)}`
  const repository = await makeRepository(join(folder, app), exampleFolder)
  await edit(join(repository.path, 'kiln.yaml'), (text) => {
    const [before = ''] = text.split('  - name: test')
    return renamed(before, app)
  })
  await commitSomething(repository)
  const body = { repository: repository.path, branches: ['main'] }
  const { watch } = await session.call((api) => api.startWatch({ params: {}, query: {}, body }))
  try {
    await until(`${app} is delivered`, patienceMs, async () => {
      const { items } = await session.call((api) => api.environments({}))
      const dev = items.find(({ name }) => name === `${app}/dev`)
      if (dev === undefined || dev.epoch === 0 || dev.open !== null) return false
      if (dev.active === null) throw new Error(`${app}/dev: its first promotion failed`)
      return true
    })
  } finally {
    await session.call((api: Client) => api.stopWatch({ params: { id: watch.id } }))
  }
}
