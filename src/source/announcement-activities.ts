import type { CommitState, CommitStatus } from './commit-status.ts'
import type { Forge } from './forge.ts'
import type { StatusPlace } from './known-repository.ts'
import type { StatusOutcome } from './status-writer.ts'

type Dependencies = {
  /** Puts on record what came of a delivery. */
  settle: (
    delivery: { forge: Forge; delivery: string },
    end: { result: 'looked' | 'refused'; message: string },
  ) => Promise<void>
  /** Where statuses of the repository's commits go; undefined: nowhere. Throws for a file that is broken. */
  statusPlace: (repository: string) => Promise<StatusPlace | undefined>
  write: (place: StatusPlace, status: CommitStatus) => Promise<StatusOutcome>
  /** Where a person can follow an operation, when there is a public address. */
  addressOf: (operation: string) => string | undefined
  log: (line: { repository: string; commit: string; detail: string }) => void
}

export type AnnouncementActivities = ReturnType<typeof announcementActivities>

/** What the control worker does for the forges: what came of their announcements, and commit statuses. */
export function announcementActivities(dependencies: Dependencies) {
  const { settle, statusPlace, write, addressOf, log } = dependencies
  return {
    async recordHint(input: {
      forge: Forge
      delivery: string
      result: 'looked' | 'refused'
      message: string
    }): Promise<void> {
      const { forge, delivery, result, message } = input
      await settle({ forge, delivery }, { result, message })
    },

    /** Shows a state at the commit. `wanted` is false where nobody asked for statuses. */
    async writeStatus(input: {
      repository: string
      commit: string
      state: CommitState
      context: string
      description: string
      operation: string
    }): Promise<{ wanted: boolean; detail: string }> {
      const { repository, commit, state, context, description } = input
      const place = await statusPlace(repository).catch((error: unknown) =>
        error instanceof Error ? error : new Error('unknown'),
      )
      if (place === undefined) return { wanted: false, detail: 'no status is wanted' }
      if (place instanceof Error) return { wanted: true, detail: `no status: ${place.message}` }
      const target = addressOf(input.operation)
      const { written, detail } = await write(place, {
        commit,
        state,
        context,
        description,
        ...(target === undefined ? {} : { targetUrl: target }),
      })
      if (!written) log({ repository, commit, detail })
      return { wanted: true, detail }
    },
  }
}
