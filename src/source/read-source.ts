import { canonicalJson } from '../../signing/canonical.ts'
import type { PipelineStep } from '../domain/definition.ts'
import type { Digest } from '../domain/digest.ts'
import { KilnError } from '../domain/error.ts'
import type { Failure } from '../domain/operation.ts'
import type { Source } from '../domain/statement.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { SourceDependencies } from './dependencies.ts'
import { appTree } from './app-tree.ts'
import type { Git } from './git.ts'
import { entryOf, parseRoot } from './monorepo.ts'
import { maxSpecificationBytes } from './read-yaml.ts'
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

/** A repository with several apps: what is in which folder. */
export type FoundApps = {
  commit: string
  subject: string
  apps: readonly FoundApp[]
}

/** `app` null: its kiln.yaml cannot be read, and `fault` says why. */
export type FoundApp =
  | { path: string; app: string; fault: null }
  | { path: string; app: null; fault: Failure }

type Fetched = { repository: string; commit: string; folder: string; signal: AbortSignal }

/** What the kiln.yaml at the top says is there: the one app, or the list of them. */
export async function readRoot(
  dependencies: SourceDependencies,
  fetched: Fetched,
): Promise<FoundSource | FoundApps> {
  const at = { git: dependencies.git, ...fetched }
  const entries = await readTree(at, fetched.commit)
  const root = parseRoot(await readFile(at, entries, specificationFile))
  if (root.kind === 'app') {
    const specification = root.specification
    return readSource(dependencies, fetched, { entries, specification, part: {} })
  }
  const apps: FoundApp[] = []
  for (const { path } of root.apps) apps.push(await readName(at, entries, path))
  requireDistinct(apps)
  const { subject } = await readFacts(at, fetched.commit)
  return { commit: fetched.commit, subject, apps }
}

/** One app of a repository with several. */
export async function readApp(
  dependencies: SourceDependencies,
  fetched: Fetched,
  path: string,
): Promise<FoundSource> {
  const at = { git: dependencies.git, ...fetched }
  const tree = await readTree(at, fetched.commit)
  const root = parseRoot(await readFile(at, tree, specificationFile))
  const { entries, content } = appTree(tree, entryOf(root, path))
  const name = `${path}/${specificationFile}`
  const specification = parseSpecification(await readFile(at, tree, name), name)
  return readSource(dependencies, fetched, { entries, specification, part: { path, content } })
}

/** One app's fault is not the others': theirs are delivered. */
async function readName(at: At, entries: readonly TreeEntry[], path: string): Promise<FoundApp> {
  const name = `${path}/${specificationFile}`
  try {
    const { app } = parseSpecification(await readFile(at, entries, name), name)
    return { path, app, fault: null }
  } catch (error) {
    if (!(error instanceof KilnError) || error.retryable) throw error
    const { code, message, place = null, fix = null, lines } = error
    return { path, app: null, fault: { code, message, place, fix, lines } }
  }
}

function requireDistinct(apps: readonly FoundApp[]): void {
  for (const [at, { app, path }] of apps.entries()) {
    const other = apps.slice(0, at).find((one) => app !== null && one.app === app)
    if (other === undefined) continue
    throw new KilnError('invalid_yaml', `two apps are called ${app}: ${other.path} and ${path}`, {
      place: `${path}/${specificationFile}`,
      fix: 'give one of them another name',
    })
  }
}

type Read = {
  entries: readonly TreeEntry[]
  specification: Specification
  part: Pick<Source, 'path' | 'content'>
}

async function readSource(
  { git, store, repack }: SourceDependencies,
  { repository, commit, folder, signal }: Fetched,
  { entries, specification, part }: Read,
): Promise<FoundSource> {
  const at = { git, folder, signal }
  const facts = await readFacts(at, commit)
  const mtime = facts.committedAt
  const packed = repack(exportTree(at, entries, mtime), { mtime })
  const context = await store.putBlob(packed)
  return {
    source: { repository, commit, ...facts, ...part },
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

type At = { git: Git; folder: string; signal: AbortSignal }

async function readFile(at: At, entries: readonly TreeEntry[], name: string): Promise<Buffer> {
  const entry = entries.find(({ path }) => path === name)
  if (entry === undefined || entry.kind === 'symlink') {
    const where = name === specificationFile ? 'at its top' : `named ${name}`
    throw new KilnError('invalid_yaml', `the commit has no file kiln.yaml ${where}`, {
      place: name,
      fix: 'add one: docs/kiln-yaml.md says what stands in it',
    })
  }
  if (entry.size > maxSpecificationBytes) {
    throw new KilnError('invalid_yaml', `${name} has more than ${maxSpecificationBytes} bytes`, {
      place: name,
    })
  }
  return readObject(at, entry)
}

async function readFacts(
  { git, folder, signal }: At,
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
