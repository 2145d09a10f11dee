import { randomUUID } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from '../../src/api/client.ts'
import type { Digest } from '../../src/domain/digest.ts'
import { parseDigest } from '../../src/domain/digest.ts'
import { hasEnded, type Operation } from '../../src/domain/operation.ts'
import { followed, kilnAt, root, type Kiln } from '../demo/kiln.ts'
import { makeRepository, type Repository } from '../demo/repository.ts'
import { endAll, lockedTemplates, lockTemplates, makeHome } from '../demo/stage.ts'
import { say } from './timed.ts'

/** Where everything that is measured lies; removed at the end. */
export const home = join(root, '.kiln-bench')
const host = 'bench'
/** The build worker's registry of this Kiln, as the engine names it. */
export const registry = '127.0.0.1:7702'

/** A whole Kiln, up, with a repository of the example that it may read. */
export type BenchKiln = {
  api: Client
  /** The command line of this Kiln, and its API as it is now: a restored home has another token. */
  own: Kiln
  /** Address of the port at which the edge answers for hello/prod. */
  prodAddress: () => Promise<string>
  pid: (process: string) => Promise<number>
  /** A commit that changes one source file, to what nobody has built before. */
  commit: () => Promise<string>
  repository: Repository
  deliver: (commit: string) => Promise<Delivery>
  promote: (environment: string, digest: Digest) => Promise<Operation>
  rollback: (environment: string) => Promise<Operation>
  release: (environment: string) => Promise<void>
}

/** A commit on its way: when its artifact was sealed, and the steps up to there. */
export type Delivery = { digest: Digest; sealedAt: number; steps: Operation['steps'] }

export async function startBenchKiln(): Promise<BenchKiln> {
  await clearAway()
  await lockTemplates()
  await makeHome(home)
  say('kiln up')
  const kiln = ownKiln()
  await kiln.cli('up')
  const repository = await makeRepository(join(home, 'repository'), join(root, 'examples/hello'))
  await repository.commit('Say hello')
  return { ...verbs(await kiln.api(), repository), own: kiln }
}

/** Ends what runs of an earlier run or of this one, and removes what it left. */
export async function clearAway(): Promise<void> {
  await endAll(ownKiln(), host)
  await rm(home, { recursive: true, force: true })
}

function ownKiln(): Kiln {
  return kilnAt(home, {
    KILN_API_PORT: '7700',
    KILN_HOST: host,
    KILN_REPOSITORIES: join(home, 'repository'),
    KILN_TEMPLATES: lockedTemplates,
  })
}

const at = (environment: string) => ({ params: { app: 'hello', environment }, query: {} })

function verbs(api: Client, repository: Repository): Omit<BenchKiln, 'own'> {
  return {
    api,
    repository,
    async prodAddress() {
      return (await api.environment(at('prod'))).address ?? ''
    },
    async pid(name) {
      const text = await readFile(join(home, 'run/supervisor.json'), 'utf8')
      const { processes } = JSON.parse(text) as {
        processes: { name: string; pid: number | null }[]
      }
      const pid = processes.find((one) => one.name === name)?.pid
      if (pid === undefined || pid === null) throw new Error(`${name} does not run`)
      return pid
    },
    async commit() {
      const id = randomUUID()
      await writeFile(join(repository.path, 'message.txt'), `Hello ${id}\n`)
      return repository.commit(`Say hello ${id}`)
    },
    deliver: (commit) => deliver(api, repository.path, commit),
    async promote(environment, digest) {
      const body = { digest, reason: 'bench' }
      const { operation } = await api.promote({ ...at(environment), body })
      return followed(api, operation)
    },
    async rollback(environment) {
      const { operation } = await api.rollback({ ...at(environment), body: { reason: 'bench' } })
      return followed(api, operation)
    },
    async release(environment) {
      const { operation } = await api.release({ ...at(environment), body: { reason: 'bench' } })
      await followed(api, operation)
    },
  }
}

/** Builds the commit, and waits until dev runs it, so that nothing of it disturbs what is measured next. */
async function deliver(api: Client, repository: string, revision: string): Promise<Delivery> {
  const { operation } = await api.startBuild({
    params: {},
    query: {},
    body: { repository, revision },
  })
  const { steps, result } = await followed(api, operation)
  const sealed = steps.find((step) => step.name === 'read back and seal')
  if (typeof sealed?.endedAt !== 'string') throw new Error(`${revision} was not sealed`)
  if (typeof result['change'] === 'string') {
    const change = await api.operation({ params: { id: result['change'] } })
    if (!hasEnded(change.operation)) await followed(api, change.operation)
  }
  return {
    digest: parseDigest(String(result['digest'])),
    sealedAt: Date.parse(sealed.endedAt),
    steps: steps.slice(0, steps.indexOf(sealed) + 1),
  }
}
