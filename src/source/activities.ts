import { canonicalJson } from '../../signing/canonical.ts'
import type { PipelineStep } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Source } from '../domain/statement.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Git } from './git.ts'
import type { Head, Mirror } from './mirror.ts'
import { maxSpecificationBytes } from './read-yaml.ts'
import { parseRepository, parseRevision, type RepositoryRules } from './repository.ts'
import { parseSpecification, specificationFile, type Specification } from './specification.ts'
import { exportTree, readObject, readTree, type TreeEntry } from './tree.ts'

/** A commit as the rest of the build needs it; what is large is in the store. */
export type FoundSource = {
  source: Source
  app: string
  template: string
  /** Blob: the commit's tree as a canonical tar. */
  context: Digest
  /** Blob: kiln.yaml as canonical JSON. */
  specification: Digest
  pipeline: readonly PipelineStep[]
}

export type SourceDependencies = {
  store: BlobStore
  git: Git
  mirror: Mirror
  rules: RepositoryRules
  /** Packs a tar canonically and refuses what may not be in a build's context; `mtime` in seconds. */
  repack: (
    content: AsyncIterable<Uint8Array>,
    options: { mtime: number },
  ) => AsyncIterable<Uint8Array>
  /** The running activity: when to stop, and how to say that work goes on. */
  activity(this: void): { signal: AbortSignal; heartbeat(this: void): void }
}

export type SourceActivities = ReturnType<typeof sourceActivities>

export function sourceActivities(dependencies: SourceDependencies) {
  const { mirror, rules } = dependencies
  return {
    /**
     * Fetches a commit or a branch's head and stores its tree; the same commit gives the same answer. A
     * commit must be on a branch or a tag, but for one that is `recorded`: a sealed artifact's, which was.
     */
    async resolveSource(input: {
      repository: string
      revision: string
      recorded?: boolean
    }): Promise<FoundSource> {
      const repository = parseRepository(input.repository, rules)
      const revision = parseRevision(input.revision)
      return alive(dependencies, async (signal) => {
        const commit = await mirror.commitOf(repository, revision, signal)
        if (revision.kind === 'commit' && input.recorded !== true) {
          await mirror.checkReached(repository, commit, signal)
        }
        const folder = await mirror.fetchCommit(repository, commit, signal)
        return readSource(dependencies, { repository: input.repository, commit, folder, signal })
      })
    },

    /** The heads of the named branches that exist, or of all. */
    async readHeads(input: { repository: string; branches?: string[] }): Promise<Head[]> {
      const repository = parseRepository(input.repository, rules)
      return alive(dependencies, async (signal) => {
        const heads = await mirror.heads(repository, signal)
        const wanted = new Set(input.branches)
        return heads.filter(({ branch }) => wanted.size === 0 || wanted.has(branch)).slice(0, 1000)
      })
    },

    /** Whether a commit that somebody announced is on one of the branches. */
    async isOnBranch(input: {
      repository: string
      branches: string[]
      commit: string
    }): Promise<boolean> {
      const { branches, commit } = input
      const repository = parseRepository(input.repository, rules)
      return alive(dependencies, (signal) =>
        mirror.reaches(repository, { commit, branches }, signal),
      )
    },
  }
}

type Fetched = { repository: string; commit: string; folder: string; signal: AbortSignal }

async function readSource(
  { git, store, repack }: SourceDependencies,
  { repository, commit, folder, signal }: Fetched,
): Promise<FoundSource> {
  const at = { git, folder, signal }
  const facts = await readFacts(at, commit)
  const entries = await readTree(at, commit)
  const specification = await readSpecification(at, entries)
  const mtime = facts.committedAt
  const packed = repack(exportTree(at, entries, mtime), { mtime })
  const context = await store.putBlob(packed)
  return {
    source: { repository, commit, ...facts },
    app: specification.app,
    template: specification.template,
    context: context.digest,
    specification: await putJson(store, specification),
    pipeline: await putPipeline(store, specification),
  }
}

async function putPipeline(
  store: BlobStore,
  specification: Specification,
): Promise<readonly PipelineStep[]> {
  const pipeline: PipelineStep[] = []
  for (const { definition, instances, automatic } of specification.environments) {
    const { environment, route } = definition
    const digest = await putJson(store, definition)
    const step = { environment, definition: digest, instances, automatic }
    pipeline.push(route === undefined ? step : { ...step, route })
  }
  return pipeline
}

async function readSpecification(
  at: { git: Git; folder: string; signal: AbortSignal },
  entries: readonly TreeEntry[],
): Promise<Specification> {
  const entry = entries.find(({ path }) => path === specificationFile)
  if (entry === undefined || entry.kind === 'symlink') {
    throw new KilnError('invalid_yaml', 'the commit has no file kiln.yaml at its top', {
      place: specificationFile,
      fix: 'add one: docs/kiln-yaml.md says what stands in it',
    })
  }
  if (entry.size > maxSpecificationBytes) {
    throw new KilnError('invalid_yaml', `kiln.yaml has more than ${maxSpecificationBytes} bytes`, {
      place: specificationFile,
    })
  }
  return parseSpecification(await readObject(at, entry))
}

async function readFacts(
  { git, folder, signal }: { git: Git; folder: string; signal: AbortSignal },
  commit: string,
): Promise<Pick<Source, 'tree' | 'committedAt' | 'subject'>> {
  const args = [
    'log',
    '-1',
    '--no-show-signature',
    '--format=%T%n%ct%n%s',
    '--end-of-options',
    commit,
  ]
  const [tree = '', time = '', subject = ''] = (await git.text(args, { folder, signal })).split(
    '\n',
  )
  const committedAt = Number(time)
  if (!Number.isSafeInteger(committedAt) || committedAt < 0 || committedAt > 0o77777777777) {
    throw new KilnError('invalid_repository', `commit ${commit} has the time ${time}`)
  }
  return { tree, committedAt, subject: plain(subject) }
}

/** A commit's subject as one line without control characters, at most 200 letters. */
function plain(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, ' ')
    .trim()
    .slice(0, 200)
    .toWellFormed()
}

async function putJson(store: BlobStore, value: unknown): Promise<Digest> {
  const bytes = canonicalJson(value)
  const { digest } = await store.putBlob(
    (async function* once() {
      yield bytes
    })(),
  )
  return digest
}

const heartbeatMs = 2000

/** Says that work goes on for as long as it does. */
async function alive<T>(
  { activity }: SourceDependencies,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal, heartbeat } = activity()
  const timer = setInterval(heartbeat, heartbeatMs)
  try {
    return await work(signal)
  } finally {
    clearInterval(timer)
  }
}
