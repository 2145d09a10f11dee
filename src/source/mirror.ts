import { randomUUID } from 'node:crypto'
import { mkdir, readdir, realpath, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { KilnError } from '../domain/error.ts'
import { digestOf } from '../../signing/canonical.ts'
import type { Access } from './access.ts'
import { connectAddress, type Lookup } from './address.ts'
import type { Git } from './git.ts'
import type { Remote } from './git-remote.ts'
import { isReached } from './history.ts'
import type { Repository, Revision } from './repository.ts'

export type MirrorDependencies = {
  git: Git
  /** Bare repositories are kept here, one for each commit: `<hash of the address>/<commit>.git`. */
  folder: string
  resolve: Lookup
  /** How a repository is asked; without it, as nobody. */
  access?: (repository: Repository) => Promise<Access>
  /** Whether git reaches https by a proxy. */
  proxied: boolean
  now(this: void): Date
}

/** Commits that are kept for each repository; older ones are fetched again when they are asked for. */
const kept = 20

/**
 * Commits of repositories, each fetched into a folder of its own that appears whole under its name.
 * So fetches never meet, and what a killed fetch leaves is never read; `sweep` removes it.
 */
export function createMirror(dependencies: MirrorDependencies) {
  const { git, folder } = dependencies

  const remotes = remotesOf(dependencies)
  const homeOf = ({ url }: Repository) =>
    join(folder, digestOf(Buffer.from(url)).slice('sha256:'.length))
  return {
    ...remotes,
    /** Whether the commit is on one of the branches that exist, or with none named, on any branch or tag. */
    reaches: (repository: Repository, at: At, signal: AbortSignal) =>
      reaches(dependencies, { ...at, repository, home: homeOf(repository), signal }),
    /**
     * Throws `commit_not_found` for a commit that is on no branch and no tag, so that nobody let it into
     * the repository. What is kept here has passed this before.
     */
    async checkReached(repository: Repository, commit: string, signal: AbortSignal): Promise<void> {
      const home = homeOf(repository)
      if ((await stat(join(home, `${commit}.git`)).catch(() => null)) !== null) return
      if (await reaches(dependencies, { commit, repository, home, signal })) return
      throw new KilnError(
        'commit_not_found',
        `commit ${commit} is on no branch and no tag of the repository`,
        {
          place: repository.url,
          fix: 'push it to a branch; a pull request of a fork is not built before it is merged',
        },
      )
    },
    /** The folder of a bare repository that holds the commit whole. */
    async fetchCommit(
      repository: Repository,
      commit: string,
      signal: AbortSignal,
    ): Promise<string> {
      const home = homeOf(repository)
      const final = join(home, `${commit}.git`)
      if (await isUsable(dependencies, { home, folder: final, commit, signal })) return final
      await withTemporary(home, async (temporary) => {
        const remote = await remotes.remoteOf(repository)
        await git.text(['init', '--quiet', '--bare', '--template=', temporary], { signal })
        await fetchInto(git, { remote, commit, folder: temporary, signal })
        await rename(temporary, final).catch((error: NodeJS.ErrnoException) => {
          // Another fetch of the same commit was first.
          if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
        })
      })
      await prune(home)
      return final
    },
    /** Removes what killed fetches left; called once, before the first fetch. */
    async sweep(): Promise<void> {
      for (const home of await readdir(folder).catch(() => [])) {
        for (const name of await readdir(join(folder, home))) {
          if (name.startsWith(prefix)) await rm(join(folder, home, name), { recursive: true })
        }
      }
    },
  }
}

/** Where repositories are, and where their branches stand. */
function remotesOf(dependencies: MirrorDependencies) {
  async function remoteOf(repository: Repository): Promise<Remote> {
    if (repository.kind === 'file') await checkRealPath(repository)
    const access = (await dependencies.access?.(repository)) ?? { kind: 'none' }
    return { repository, address: await connectAddress(repository, dependencies), access }
  }
  async function heads(repository: Repository, signal: AbortSignal): Promise<readonly Head[]> {
    const remote = await remoteOf(repository)
    const args = ['ls-remote', '--heads', '--end-of-options', repository.url]
    return parseHeads(await dependencies.git.text(args, { remote, signal }))
  }
  return {
    remoteOf,
    heads,
    async commitOf(repository: Repository, revision: Revision, signal: AbortSignal) {
      if (revision.kind === 'commit') return revision.commit
      const all = await heads(repository, signal)
      const found = all.find(({ branch }) => branch === revision.branch)
      if (found !== undefined) return found.commit
      throw new KilnError('commit_not_found', `the repository has no branch ${revision.branch}`, {
        place: repository.url,
      })
    },
  }
}

type At = { commit: string; branches?: readonly string[] }

async function reaches(
  dependencies: MirrorDependencies,
  question: At & { repository: Repository; home: string; signal: AbortSignal },
): Promise<boolean> {
  const { repository, commit, branches = [], home, signal } = question
  const { heads, remoteOf } = remotesOf(dependencies)
  const there = (await heads(repository, signal)).filter(
    ({ branch }) => branches.length === 0 || branches.includes(branch),
  )
  if (there.some((head) => head.commit === commit)) return true
  if (branches.length > 0 && there.length === 0) return false
  const refs =
    branches.length === 0
      ? ['refs/heads/*', 'refs/tags/*']
      : there.map(({ branch }) => `refs/heads/${branch}`)
  const remote = await remoteOf(repository)
  let reached = false
  await withTemporary(home, async (temporary) => {
    reached = await isReached(dependencies.git, {
      remote,
      commit,
      refs,
      folder: temporary,
      signal,
    })
  })
  return reached
}

/** Whether a kept commit can be used again; one that was damaged is put out of the way. */
async function isUsable(
  { git, now }: MirrorDependencies,
  at: { home: string; folder: string; commit: string; signal: AbortSignal },
): Promise<boolean> {
  if ((await stat(at.folder).catch(() => null)) === null) return false
  if (await isWhole(git, at)) {
    await utimes(at.folder, now(), now())
    return true
  }
  await withTemporary(at.home, (temporary) => rename(at.folder, temporary))
  return false
}

/** A name for work that is not done: it is gone afterwards, whatever happened. */
async function withTemporary(home: string, work: (temporary: string) => Promise<void>) {
  await mkdir(home, { recursive: true })
  const temporary = join(home, `${prefix}${randomUUID()}`)
  try {
    await work(temporary)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

export type Mirror = ReturnType<typeof createMirror>

export type Head = { branch: string; commit: string }

const prefix = 'fetching-'

type Fetch = { remote: Remote; commit: string; folder: string; signal: AbortSignal }

/** By commit id, one deep; from a server that gives out no commits by id, all branches. */
async function fetchInto(git: Git, { remote, commit, folder, signal }: Fetch): Promise<void> {
  const options = ['--quiet', '--no-tags', '--no-write-fetch-head', '--no-auto-maintenance']
  const { url } = remote.repository
  try {
    const args = ['fetch', ...options, '--depth=1', '--end-of-options', url, commit]
    await git.text(args, { folder, remote, signal })
  } catch (error) {
    if (!isRefusedWant(error)) throw error
    const all = '+refs/heads/*:refs/heads/*'
    await git.text(['fetch', ...options, '--end-of-options', url, all], { folder, remote, signal })
  }
  if (!(await isWhole(git, { folder, commit, signal }))) {
    throw new KilnError('commit_not_found', `the repository has no commit ${commit}`, {
      place: url,
    })
  }
}

function isRefusedWant(error: unknown): boolean {
  return (
    error instanceof KilnError &&
    /not our ref|unadvertised object|does not allow request|couldn't find remote ref/i.test(
      error.lines.join('\n'),
    )
  )
}

/** Whether the commit and all it needs are there, every object's content checked against its id. */
async function isWhole(
  git: Git,
  { folder, commit, signal }: { folder: string; commit: string; signal: AbortSignal },
): Promise<boolean> {
  try {
    const type = await git.text(['cat-file', '-t', commit], { folder, signal })
    if (type.trim() !== 'commit') return false
    await git.text(['fsck', '--full', '--no-dangling', '--no-progress', commit], { folder, signal })
    return true
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof KilnError) return false
    throw error
  }
}

async function prune(home: string): Promise<void> {
  const found: { name: string; usedMs: number }[] = []
  for (const name of await readdir(home)) {
    if (name.startsWith(prefix)) continue
    const facts = await stat(join(home, name)).catch(() => null)
    if (facts !== null) found.push({ name, usedMs: facts.mtimeMs })
  }
  const old = found.toSorted((a, b) => b.usedMs - a.usedMs).slice(kept)
  for (const { name } of old) await rm(join(home, name), { recursive: true, force: true })
}

/** A path below an allowed folder may still lead out of it by a symlink. */
async function checkRealPath({ url, allowed }: Extract<Repository, { kind: 'file' }>) {
  const [real, inside] = await Promise.all([realpath(url), realpath(allowed)]).catch(
    (cause: unknown) => {
      throw new KilnError('invalid_repository', 'there is nothing at this path', {
        cause,
        place: url,
      })
    },
  )
  if (real === inside || real?.startsWith(`${inside}/`)) return
  throw new KilnError('invalid_repository', 'the path leads out of the allowed folder', {
    place: url,
  })
}

function parseHeads(text: string): readonly Head[] {
  return text
    .split('\n')
    .map((line) => /^([0-9a-f]{40})\trefs\/heads\/(.+)$/.exec(line))
    .filter((found) => found !== null)
    .map(([, commit = '', branch = '']) => ({ branch, commit }))
}
