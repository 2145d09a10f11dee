import type { SourceDependencies } from './dependencies.ts'
import type { Head } from './mirror.ts'
import { readApp, readRoot, type FoundApps, type FoundSource } from './read-source.ts'
import { parseRepository, parseRevision } from './repository.ts'

export type SourceActivities = ReturnType<typeof sourceActivities>

export function sourceActivities(dependencies: SourceDependencies) {
  const { mirror, rules } = dependencies
  return {
    /**
     * Fetches a commit or a branch's head and stores its tree; the same commit gives the same answer. A
     * commit must be on a branch or a tag, but for one that is `recorded`: a sealed artifact's, which was.
     * Of a repository with several apps it is the one at `path`; without that, what the apps are.
     */
    async resolveSource(input: {
      repository: string
      revision: string
      recorded?: boolean
      path?: string
    }): Promise<FoundSource | FoundApps> {
      const repository = parseRepository(input.repository, rules)
      const revision = parseRevision(input.revision)
      return alive(dependencies, async (signal) => {
        const commit = await mirror.commitOf(repository, revision, signal)
        if (revision.kind === 'commit' && input.recorded !== true) {
          await mirror.checkReached(repository, commit, signal)
        }
        const folder = await mirror.fetchCommit(repository, commit, signal)
        const fetched = { repository: input.repository, commit, folder, signal }
        return input.path === undefined
          ? readRoot(dependencies, fetched)
          : readApp(dependencies, fetched, input.path)
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
