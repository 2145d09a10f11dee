import { CancellationScope, patched } from '@temporalio/workflow'
import type { Failure } from '../src/domain/operation.ts'
import type { CommitState } from '../src/source/commit-status.ts'
import { announcing } from './activities.ts'

type Delivery = { id: string; repository: string; revision: string }

/** What a delivery's forge is told; nothing here ever fails the delivery or delays its build. */
export type StatusReport = {
  /** The commit and its app are known: work begins. */
  begin: (app: string, commit: string) => void
  succeeded: (detail: string) => Promise<void>
  failed: (failure: Failure, cancelled: boolean) => Promise<void>
}

const silent: StatusReport = {
  begin: () => undefined,
  succeeded: async () => undefined,
  failed: async () => undefined,
}

/** Deliveries that began before there were statuses go on without. */
export function reportStatus({ id, repository, revision }: Delivery): StatusReport {
  if (!patched('commit-status')) return silent
  let context = 'kiln'
  let commit = /^[0-9a-f]{40}$/.test(revision) ? revision : undefined
  let begun: Promise<{ wanted: boolean }> = Promise.resolve({ wanted: true })
  const write = async (state: CommitState, description: string): Promise<{ wanted: boolean }> => {
    if (commit === undefined) return { wanted: false }
    try {
      return await announcing.writeStatus({
        repository,
        commit,
        state,
        context,
        description,
        operation: id,
      })
    } catch {
      return { wanted: true }
    }
  }
  const end = (state: CommitState, description: string): Promise<void> =>
    CancellationScope.nonCancellable(async () => {
      // In order: what is shown last is how it ended.
      if ((await begun).wanted) await write(state, description)
    })
  return {
    begin(app, found) {
      context = `kiln/${app}`
      commit = found
      begun = CancellationScope.nonCancellable(() => write('pending', 'Kiln builds this commit'))
    },
    succeeded: (detail) => end('success', detail),
    failed: ({ code, message }, cancelled) =>
      cancelled
        ? end('error', 'cancelled')
        : end(isFaultOfCommit(code) ? 'failure' : 'error', `${code}: ${message}`),
  }
}

/** What another commit would mend; everything else is Kiln's or the machine's. */
const faultsOfCommit: readonly Failure['code'][] = [
  'invalid_yaml',
  'invalid_dockerfile',
  'invalid_archive',
  'invalid_repository',
  'invalid_image',
  'invalid_input',
  'build_failed',
  'fetch_failed',
  'refused',
]

function isFaultOfCommit(code: Failure['code']): boolean {
  return faultsOfCommit.includes(code)
}
